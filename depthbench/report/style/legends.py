"""Legends below the panels, and the entries that figures share."""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from depthbench.report.style.canvas import RC
from depthbench.report.style.palette import BACKGROUND, GREY, STATUS_MARKERS, Look
from depthbench.report.style.tags import tag, tag_legend
from depthbench.report.style.text import CHARACTER, NOTE_SIZE, wrapped

HANDLE = 4.8  # width of a legend symbol and the space around it, relative to the font size


def legend_below(
    figure: Figure, handles: Sequence[Artist], columns: int = 6, note: str | None = None
) -> None:
    """Draw a legend under the panels, where it covers no data, row by row and with a note above it."""
    width = figure.get_figwidth()
    columns = fitting_columns(handles, columns, width)
    by_column = [handle for start in range(columns) for handle in handles[start::columns]]
    title = note and wrapped(note, width, NOTE_SIZE)
    legend = figure.legend(
        handles=by_column, loc="outside lower center", ncols=columns, title=title, title_fontsize=NOTE_SIZE
    )
    tag_legend(legend, by_column)


def fitting_columns(handles: Sequence[Artist], most: int, width: float) -> int:
    """Return how many columns of a legend, at most `most`, fit into `width` inches."""
    size = RC["legend.fontsize"] / 72
    entries = [size * (CHARACTER * len(str(handle.get_label())) + HANDLE) for handle in handles]
    columns = max(1, min(len(handles), most))
    while columns > 1 and sum(max(entries[start::columns]) for start in range(columns)) > width:
        columns -= 1
    rows = -(-len(handles) // columns) or 1
    return max(1, -(-len(handles) // rows))  # rows of nearly equal length, so that no entry is left alone


def depth_handles(colours: Mapping[int, str], prefix: str = "depth ") -> list[Line2D]:
    """Make the legend entries of depths."""
    handles = [Line2D([], [], color=colour, label=f"{prefix}{depth}") for depth, colour in colours.items()]
    for depth, handle in zip(colours, handles, strict=True):
        tag(handle, depth)
    return handles


def network_handles(looks: Mapping[str, Look]) -> list[Line2D]:
    """Make the legend entries of networks."""
    handles = [Line2D([], [], label=network, **look) for network, look in looks.items()]
    for network, handle in zip(looks, handles, strict=True):
        tag(handle, network=network)
    return handles


def background_handles(kinds: Sequence[str]) -> list[Line2D]:
    """Make the legend entry of background lines that show these kinds. None if there are no kinds."""
    label = " and ".join(kinds)
    return [Line2D([], [], color=BACKGROUND, linewidth=0.8, label=label)] if kinds else []


def status_handle(status: str, label: str | None = None) -> Line2D:
    """Make the legend entry of runs with this status."""
    return Line2D([], [], color=GREY, marker=STATUS_MARKERS[status], linestyle="", label=label or status)


def status_handles(runs: pd.DataFrame, labels: Mapping[str, str]) -> list[Line2D]:
    """Make a legend entry for each status in `runs` except done; `labels` may map a status to its text."""
    present = set(runs["status"])
    return [status_handle(status, labels.get(status)) for status in STATUS_MARKERS if status in present]
