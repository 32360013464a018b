"""Draw figures from made-up results, and look at their parts."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from depthbench.report.evidence import Evidence
from depthbench.report.figures import FIGURES
from depthbench.report.style import palette
from depthbench.store.results import Results
from tests.report.conftest import evidence_of


def draw(name: str, results: Results | Evidence, style: str = "page", **tables) -> Figure | None:
    """Draw a figure of FIGURES; `tables` are analyses of `Evidence` to use instead of the stored ones."""
    evidence = results if isinstance(results, Evidence) else evidence_of(results, **tables)
    return FIGURES[name].load().draw(evidence, style)


def panels(figure: Figure) -> list[Axes]:
    """List the visible axes with a title."""
    return [axes for axes in figure.axes if axes.get_title() and axes.get_visible()]


def panel(figure: Figure, title: str) -> Axes:
    return next(axes for axes in figure.axes if axes.get_title() == title)


def line_colours(axes: Axes) -> set[str]:
    """The colours of the solid lines of a panel, without those that only give context."""
    solid = [line for line in axes.lines if line.get_linestyle() == "-" and len(line.get_xdata()) > 1]
    return {line.get_color() for line in solid} - {palette.BACKGROUND}


def legend(figure: Figure) -> dict[str, Line2D]:
    """The entries of the legends below the panels."""
    return {
        text.get_text(): handle
        for box in figure.legends
        for text, handle in zip(box.get_texts(), box.legend_handles, strict=True)
    }


def note(figure: Figure) -> str:
    """The note above the legend."""
    return figure.legends[0].get_title().get_text()


def stays_on_paper(figure: Figure) -> bool:
    """Return whether nothing of a figure, after its layout, is cut off."""
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    return min(box.x0, box.y0) >= -0.01 and box.x1 <= width + 0.01 and box.y1 <= height + 0.01


def described_points(series: dict[str, Any]) -> list[list[Any]]:
    """The points of a series of `points.collect`, those of a grid as the page expands it."""
    if "points" in series:
        return series["points"]
    grid = series["grid"]
    cells = [
        [left, top, row + column]
        for top, row in zip(grid["top"], grid["rows"], strict=True)
        for left, column in zip(grid["left"], grid["columns"], strict=True)
    ]
    return [[*cell, y] for cell, y in zip(cells, grid["values"], strict=True) if y is not None]
