"""The parts of a report: figures and tables, each with a title and how to read it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

ANSWER = "answer"
"""The chapter that the page opens with."""
CHAPTERS = {
    "sweep": "Is it the depth or the setting?",
    "changes": "What does each change do?",
    "training": "Training",
    "gradients": "Gradients",
    "layers": "Layers",
    "classes": "Classes",
    "choice": "Choosing a depth",
    "published": "Published numbers and theory",
    "runs": "Runs and how to repeat them",
}
"""Name -> title of the chapters after it, in page order."""

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class ReportFigure:
    """A figure of a report. Figures with the same title share a section, which shows one at a time."""

    function: Callable[[Any], "Figure | None"]
    """Draws the figure from `evidence.Evidence` (of a comparison: `Comparison`), or returns None if there is
    nothing to show."""
    title: str
    caption: str
    needs: str = ""
    """The data that the figure needs. The report says so if there is nothing to draw, or omits the figure if
    this is empty."""
    choice: str = ""
    """Its name among the figures with the same title."""
    chapter: str = "training"
    """ANSWER or a name in CHAPTERS."""
    probes: tuple[str, ...] = ()
    """The probes that it shows. Each probe that no figure shows gets a figure by layer and step."""

    def draw(self, evidence: Any, style: str = "page") -> "Figure | None":
        """Draw the figure in one of the report styles; None if there is nothing to show."""
        from depthbench.report.style.canvas import styled

        with styled(style):
            return self.function(evidence)


@dataclass(frozen=True)
class Table:
    """The content of a table."""

    note: str
    """How to read it."""
    raw: "pd.DataFrame"
    """The numbers, for CSV."""
    shown: "pd.DataFrame"
    """Text for people, for the page, Markdown and LaTeX. May summarise several rows of `raw` in one."""
    nothing: str = ""
    """The text shown instead if there are no rows."""


@dataclass(frozen=True)
class ReportTable:
    """A table of a report."""

    function: Callable[[Any], Table | None]
    """Builds the table from `evidence.Evidence` (of a comparison: `Comparison`), or returns None if the table
    does not apply."""
    title: str
    chapter: str = "runs"
    """ANSWER or a name in CHAPTERS."""

    def build(self, evidence: Any) -> Table | None:
        """Build the table; None if it does not apply."""
        return self.function(evidence)
