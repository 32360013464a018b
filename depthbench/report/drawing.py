"""Draw figures and write them, in several processes if there are many or large ones."""

import json
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from depthbench.errors import one_line
from depthbench.files import remove_partial_files
from depthbench.machine.environment import usable_cores
from depthbench.registry import Entry
from depthbench.report import svg
from depthbench.report.copies import can_copy, in_copies
from depthbench.report.entries import ReportFigure
from depthbench.report.formats import STYLES, SUFFIXES
from depthbench.text import single_line

MANY_FIGURES, MANY_NETWORKS = 8, 4
MOST_PROCESSES = 4
IDLE_SECONDS = 5  # how long an idle process waits for figures of another report


@dataclass(frozen=True)
class FigureOnPage:
    """A figure as the page shows it."""

    name: str
    title: str
    choice: str
    caption: str
    needs: str
    chapter: str
    svg: str | None
    """Markup; None if there is nothing to show."""
    points: str = "[]"
    """Its points for the script of the page: the JSON of `points.collect`."""
    suffixes: str = ""
    """The files written, e.g. `.svg, .png`."""


def draw_figures(
    entries: Mapping[str, Entry], evidence: Any, *, networks: int, folder: Path, style: str = "page"
) -> list[FigureOnPage]:
    """Draw and write every figure of `entries`, in order.

    Many figures, or figures of many networks, are drawn by other processes. A few figures are drawn here,
    because starting processes would cost more time than it saves."""
    calls = [
        partial(draw_figure, name, entry, evidence, folder, style=style) for name, entry in entries.items()
    ]
    if not can_copy() and any(entry.origin for entry in entries.values()):
        return [call() for call in calls]  # other processes have not loaded the plug-ins
    if len(entries) < MANY_FIGURES and networks < MANY_NETWORKS:
        return [call() for call in calls]
    try:
        return _draw_in_processes(calls, entries)
    except BrokenExecutor as error:  # probably killed by the system, because memory is short
        reason = " ".join(str(error).split())
        print(f"depthbench: drawing in one process, because {reason}", file=sys.stderr)
        return [call() for call in calls]
    finally:
        remove_partial_files(folder)  # of processes that were killed, because they or another one failed


def _draw_in_processes(
    calls: Sequence[Callable[[], FigureOnPage]], entries: Mapping[str, Entry]
) -> list[FigureOnPage]:
    """Make `calls`, which draw `entries`. Raises BrokenExecutor if a process is killed."""
    count = min(usable_cores(), MOST_PROCESSES)
    if can_copy():
        for entry in entries.values():
            if not entry.origin:
                entry.load()  # imports matplotlib here once, and not in each copy
        return in_copies(reversed(calls), count)[::-1]  # the last figures take the longest
    from joblib import Parallel, delayed

    # joblib warns when it replaces a process that large figures have made too big, which is harmless
    warnings.filterwarnings("ignore", "A worker stopped while some jobs were given", UserWarning)
    warnings.filterwarnings("ignore", ".* still being processed by the workers", UserWarning)  # Ctrl-C
    return list(Parallel(count, idle_worker_timeout=IDLE_SECONDS)(delayed(call)() for call in calls))


def draw_figure(name: str, entry: Entry, evidence: Any, folder: Path, *, style: str = "page") -> FigureOnPage:
    """Draw a figure and write its files; remove those of an older report if there is nothing to show."""
    # These import matplotlib, so only where figures are drawn.
    from depthbench.report.style import dark, points
    from depthbench.report.style.canvas import styled
    from depthbench.report.style.saving import save

    part: ReportFigure
    file = folder / name
    try:
        part = entry.load()
        drawn = part.draw(evidence, style)
    except Exception as error:
        if not entry.origin:
            raise
        problem = f"the figure {name!r} of {entry.origin} raised {one_line(error)}"
        print(f"depthbench: {single_line(problem)}; the report leaves it out", file=sys.stderr)
        part, drawn = ReportFigure(lambda evidence: None, title=name, caption=""), None
    if drawn is None:
        for suffix in SUFFIXES:
            file.with_suffix(suffix).unlink(missing_ok=True)
        return FigureOnPage(name, part.title, part.choice, part.caption, part.needs, part.chapter, svg=None)
    with styled(style):
        save(drawn, file, STYLES[style].suffixes)
    text = file.with_suffix(".svg").read_text(encoding="utf-8")
    label = f"{', '.join(filter(None, (part.title, part.choice)))}. {part.caption}"
    return FigureOnPage(
        name,
        part.title,
        part.choice,
        part.caption,
        part.needs,
        part.chapter,
        svg=dark.themed(svg.inline(text, name, label), drawn),
        points=json.dumps(points.collect(drawn), ensure_ascii=False, separators=(",", ":")),
        suffixes=", ".join(suffix for suffix in SUFFIXES if file.with_suffix(suffix).exists()),
    )
