"""Panel grids: their sizes, shared scales, titles and outer labels."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from depthbench.report.style.canvas import MOST_COLUMNS, RC, current_canvas, is_slide
from depthbench.report.style.tags import tag
from depthbench.report.style.text import TITLE_SIZE, fitting_size, panel_title, wrapped

MIN_ROW = 1.35  # in: the smallest height of a panel with an axis label beside it
AXIS_LABEL = 0.6  # in: width of the axis label and ticks left of a row


def networks_of(frame: pd.DataFrame) -> list[str]:
    """List the networks of a frame in the order of its rows."""
    return list(frame["network"].unique())


def by_depth(frame: pd.DataFrame) -> Iterator[tuple[int, pd.DataFrame]]:
    """Yield each depth with its rows, the shallowest first."""
    for depth in sorted(frame["depth"].unique()):
        yield int(depth), frame[frame["depth"] == depth]


def grid(
    rows: int,
    columns: int,
    row_height: float,
    title: str,
    *,
    sharex: bool | Literal["row", "col"] = True,
    sharey: bool | Literal["row", "col"] = True,
) -> tuple[Figure, np.ndarray]:
    """Make a figure of `rows` x `columns` panels; return it and its axes (rows, columns).

    All panels share their scales. With "row" or "col", only the panels of one row or column do. Columns that
    do not fit on the page continue in further rows."""
    groups, size = _size(rows, columns, row_height)
    across = -(-columns // groups)
    figure = Figure(figsize=size, layout="constrained")
    _set_heading(figure, title)
    if groups == 1:
        return figure, figure.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey)
    cells = figure.subplots(rows * groups, across, squeeze=False)
    positions = [[(c // across * rows + r, c % across) for c in range(columns)] for r in range(rows)]
    panels = np.array([[cells[position] for position in row] for row in positions])
    for unused in set(cells.flat) - set(panels.flat):
        unused.remove()
    for (r, c), axes in np.ndenumerate(panels):
        for share, by in ((axes.sharex, sharex), (axes.sharey, sharey)):
            first = panels[r if by == "row" else 0, 0]
            if by and axes is not first:
                share(first)
        is_last = r == rows - 1 and not (rows == 1 and c + across < columns)
        axes.tick_params(labelbottom=is_last or sharex in (False, "row"))
        axes.tick_params(labelleft=c % across == 0 or not sharey)
    return figure, panels


def _set_heading(figure: Figure, title: str) -> None:
    """Set the title of a figure, on one line if it is a slide."""
    width = figure.get_figwidth()
    if is_slide():
        figure.suptitle(title, x=0.01, ha="left", fontsize=fitting_size(title, width, TITLE_SIZE))
    else:
        figure.suptitle(wrapped(title, width, TITLE_SIZE), x=0.01, ha="left")


def flow(
    count: int, row_height: float, title: str, columns: int | None = None, *, share: bool = True
) -> tuple[Figure, np.ndarray]:
    """Make a figure of `count` panels in reading order; return it and its axes (rows, columns).

    All panels share their scales unless `share` is false. `columns`: None to choose it. Unused places at
    the end are None. Label the panels with `label_outer`."""
    if columns is None:
        columns = _flow_columns(count, row_height)
    figure, panels = grid(-(-count // columns), columns, row_height, title, sharex=share, sharey=share)
    for index in range(count, panels.size):
        panels.flat[index].remove()
        panels.flat[index] = None
    return figure, panels


def columns_of(cells: Sequence[tuple[str, int]]) -> int | None:
    """Return the number of columns of a `flow` of these networks and depths.

    If all networks have the same depths, each has its own rows. None: as `flow` chooses."""
    depths = {network: tuple(d for other, d in cells if other == network) for network, _ in cells}
    if len(set(depths.values())) > 1 or len(depths) == 1:
        return None
    each = len(cells) // len(depths)
    rows = -(-each // MOST_COLUMNS)
    return each // rows if each % rows == 0 else None


def _flow_columns(count: int, row_height: float) -> int:
    """Return the number of columns: on a page the fewest rows, on a slide the smallest canvas."""
    if not is_slide():
        return -(-count // -(-count // MOST_COLUMNS))
    return min(range(1, count + 1), key=lambda columns: _size(-(-count // columns), columns, row_height)[1])


def _size(rows: int, columns: int, row_height: float) -> tuple[int, tuple[float, float]]:
    """Return the number of groups that the columns are split into, and the figure's width and height (in)."""
    canvas, sizes = current_canvas(), {}
    row = max(row_height * canvas.height, min(row_height, MIN_ROW))
    for groups in range(1, columns + 1):
        width = max(canvas.width, canvas.panel * -(-columns // groups))
        height = rows * groups * row + 0.75
        if canvas.ratio is not None:
            width = max(width, canvas.ratio * height)
            height = width / canvas.ratio
        sizes[groups] = width, height
    groups = -(-columns // MOST_COLUMNS)
    if canvas.ratio is not None:  # text looks largest on the smallest canvas
        groups = min(sizes, key=sizes.__getitem__)
    return groups, sizes[groups]


def cells(
    panels: np.ndarray, networks: Sequence[str], depths: Sequence[int]
) -> Iterator[tuple[Axes, str, int]]:
    """Title and tag each panel of a grid of networks x depths; yield (axes, network, depth)."""
    for row, network in zip(panels, networks, strict=True):
        for axes, depth in zip(row, depths, strict=True):
            set_panel_title(axes, f"{network}, depth {depth}")
            tag(axes, depth, network=network)
            yield axes, network, depth


def set_panel_title(axes: Axes, title: str, width: float | None = None) -> None:
    """Set a title, broken into lines that fit above the panel. `width` (in) defaults to an equal share."""
    if width is None:
        width = column_width(axes, AXIS_LABEL)
    size = RC["axes.titlesize"]
    if is_slide():
        size = fitting_size(title, width, size)
    axes.set_title(panel_title(title, width * RC["axes.titlesize"] / size), fontsize=size)


def fits(axes: Axes, titles: Iterable[str]) -> bool:
    """Return whether each title fits above a panel as wide as `axes` on one line."""
    width, size = column_width(axes, AXIS_LABEL), RC["axes.titlesize"]
    return all(fitting_size(title, width, size) == size for title in titles)


def column_width(axes: Axes, margin: float = 0.0) -> float:
    """Return the width (in) of a column of panels: an equal share of the figure's, less a margin."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    return (figure.get_figwidth() - margin) / _column_count(axes)


def _column_count(axes: Axes) -> int:
    position = axes.get_subplotspec()
    assert position is not None
    return position.get_gridspec().ncols


def is_leftmost(axes: Axes) -> bool:
    """Return whether a row of panels of `grid` starts here."""
    position = axes.get_subplotspec()
    return position is not None and position.is_first_col()


def outer_panels(panels: np.ndarray, shown: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which of the `shown` panels (rows, columns) start their row, and which end their column.

    These carry the tick labels."""
    last = shown & (shown[::-1].cumsum(axis=0)[::-1] == 1)
    if len(shown) == 1:  # the row continues below
        across = _column_count(panels[0, 0])
        last[0, :-across] &= ~shown[0, across:]
    first = shown.copy()
    for r, c in np.ndindex(shown.shape):
        start = next(k for k in range(c, -1, -1) if is_leftmost(panels[r, k]))
        first[r, c] &= not shown[r, start:c].any()
    return first, last


def label_left(row: Iterable[Axes], label: str) -> None:
    """Label the y axis of a row of panels of `grid` wherever the row starts."""
    for axes in filter(is_leftmost, row):
        axes.set_ylabel(label)


def label_bottom(row: Iterable[Axes], label: str) -> None:
    """Label the x axis of the panels of the last row of `grid` that have tick labels."""
    for axes in row:
        if axes.xaxis.get_tick_params().get("labelbottom", True):
            axes.set_xlabel(label)


def label_outer(panels: np.ndarray, names: Sequence[Any], *, x: str, y: str) -> None:
    """Label the x axis under the last panel of each column, and the y axis left of each row.

    Only the first `len(names)` panels of the grid, row by row, are in use."""
    columns = panels.shape[1]
    for index, axes in enumerate(panels.flat[: len(names)]):
        if index % columns == 0:
            axes.set_ylabel(y)
        if index + columns >= len(names):
            axes.set_xlabel(x)
            axes.tick_params(labelbottom=True)
