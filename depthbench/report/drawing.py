"""Figures drawn and written, several at once where they are many or large."""

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

from depthbench.machine.environment import usable_cores
from depthbench.report import STYLES, SUFFIXES, FigureEntry, svg
from depthbench.report.style import save, styled

MANY_FIGURES, MANY_NETWORKS = 8, 4
MOST_PROCESSES = 4
IDLE_SECONDS = 5  # for which a process waits for more to draw, of another report


def draw_figures(
    drawn: Sequence[tuple[str, FigureEntry, Sequence]], networks: int, folder: Path, style: str = "page"
) -> Iterable[dict]:
    """`draw_figure` of each (name, entry, frames), in order. Many figures, as those of a report, or those of
    many `networks`, which have many panels, are drawn in as many processes as there are cores; meanwhile this
    one goes on, until it asks for them. For others, to start these would take longer than it saves."""
    if len(drawn) < MANY_FIGURES and networks < MANY_NETWORKS:
        return [draw_figure(*one, folder, style) for one in drawn]
    from joblib import Parallel, delayed

    # a process that large figures have filled is replaced by another: nothing for a person to mend
    warnings.filterwarnings("ignore", "A worker stopped while some jobs were given", UserWarning)
    warnings.filterwarnings("ignore", ".* still being processed by the workers", UserWarning)  # Ctrl-C
    count = min(usable_cores(), MOST_PROCESSES)
    return Parallel(count, return_as="generator", idle_worker_timeout=IDLE_SECONDS)(
        delayed(draw_figure)(*one, folder, style) for one in drawn
    )


def draw_figure(name: str, entry: FigureEntry, frames: Sequence, folder: Path, style: str = "page") -> dict:
    """Draw and write a figure; what the template needs of it. `svg` is None if there is nothing to show."""
    file = folder / name
    shown = {key: getattr(entry, key) for key in ("title", "choice", "about", "needs")}
    shown |= {"name": name, "svg": None}
    figure = entry.draw(*frames, style=style)
    if figure is None:
        for suffix in SUFFIXES:  # of an older report: it would be taken for this one's
            file.with_suffix(suffix).unlink(missing_ok=True)
        return shown
    with styled(style):
        save(figure, file, STYLES[style].suffixes)
    text = file.with_suffix(".svg").read_text(encoding="utf-8")
    title = ", ".join(filter(None, (entry.title, entry.choice)))
    there = ", ".join(suffix for suffix in SUFFIXES if file.with_suffix(suffix).exists())
    return shown | {"svg": svg.inline(text, name, f"{title}. {entry.about}"), "suffixes": there}
