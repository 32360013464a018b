"""How every figure looks: sizes, colours, marks, axes. Sizes are a paper's, in inches; text is 7 to 9 pt."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from depthbench.files import atomic

WIDTH = 7.0  # in: both columns of a paper
MOST_COLUMNS = 4  # of panels side by side
STYLE = {
    "font.family": "sans-serif",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7.5,
    "figure.titlesize": 9,
    "figure.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.5,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "svg.fonttype": "none",  # text stays text: it can be searched, copied and read aloud
}
DEPTH_MAP = "inferno"
DEPTH_RANGE = (0.76, 0.1)  # shallow to deep, light to dark; paler than this a thin line is lost on white
COLOURS = ("#0072B2", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#333333", "#E69F00")  # Okabe and Ito 2008
MARKERS = ("o", "s", "^", "D", "v", "<", ">", "p", "h")
DASHES = ((None, None), (5, 2), (2, 1.5), (6, 1.5, 1, 1.5), (1, 1))  # 7, 9 and 5 repeat together after 315
MARKS = {"diverged": "X", "failed": "P", "interrupted": "*"}  # of runs that did not end well


def styled() -> AbstractContextManager:
    """The context that figures are made in. It leaves matplotlib's global backend alone."""
    return matplotlib.rc_context(STYLE)


def depth_colours(depths: Iterable[int]) -> dict[int, str]:
    """Depth -> colour, darker as it is deeper, told apart by luminance and so without colour vision."""
    depths = sorted(set(depths))
    places = np.linspace(*DEPTH_RANGE, len(depths)) if len(depths) > 1 else [0.45]
    return {
        depth: to_hex(matplotlib.colormaps[DEPTH_MAP](x)) for depth, x in zip(depths, places, strict=True)
    }


def network_looks(networks: Sequence[str]) -> dict[str, dict]:
    """Network -> the colour, marker and dashes that matplotlib's plot takes."""
    kinds = {"color": COLOURS, "marker": MARKERS, "dashes": DASHES}
    return {
        name: {key: values[i % len(values)] for key, values in kinds.items()}
        for i, name in enumerate(networks)
    }


def networks_of(frame) -> list[str]:
    """The networks of a frame, in the order of its rows."""
    return list(frame["network"].unique())


def grid(
    rows: int,
    columns: int,
    row_height: float,
    title: str,
    *,
    sharex: bool | str = True,
    sharey: bool | str = True,
) -> tuple[Figure, np.ndarray]:
    """A figure of `rows` x `columns` panels, and its axes (rows, columns). They share their scales, or, by
    "row", those of a row. Where columns are too many for a page, all rows are repeated below for the rest."""
    groups = -(-columns // MOST_COLUMNS)
    across = -(-columns // groups)
    figure = Figure(
        figsize=(max(WIDTH, 2.3 * across), rows * groups * row_height + 0.75), layout="constrained"
    )
    figure.suptitle(title, x=0.01, ha="left")
    if groups == 1:
        return figure, figure.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey)
    cells = figure.subplots(rows * groups, across, squeeze=False)
    places = [[(c // across * rows + r, c % across) for c in range(columns)] for r in range(rows)]
    panels = np.array([[cells[place] for place in row] for row in places])
    for unused in set(cells.flat) - set(panels.flat):
        unused.remove()
    for (r, c), axes in np.ndenumerate(panels):
        for share, by in ((axes.sharex, sharex), (axes.sharey, sharey)):
            first = panels[r if by == "row" else 0, 0]
            if axes is not first:
                share(first)
        axes.tick_params(labelbottom=r == rows - 1 or sharex == "row", labelleft=c % across == 0)
    return figure, panels


def label_left(row: Iterable[Axes], label: str) -> None:
    """Name the y axis of a row of panels of `grid`, where it begins."""
    for axes in row:
        if axes.get_subplotspec().is_first_col():
            axes.set_ylabel(label)


def legend_below(figure: Figure, handles: list[Line2D], columns: int = 6, note: str | None = None) -> None:
    """A legend under the panels, where it covers no data; filled row by row, with a note above it."""
    columns = min(len(handles), columns)
    by_column = [handle for start in range(columns) for handle in handles[start::columns]]
    figure.legend(handles=by_column, loc="outside lower center", ncols=columns, title=note, title_fontsize=7)


def seeds(counts: Iterable[int]) -> str:
    """The seeds behind a mean, e.g. `3 seeds`, or `1 to 3 seeds` where it differs."""
    counts = sorted({int(n) for n in counts})
    if len(counts) > 1:
        return f"{counts[0]} to {counts[-1]} seeds"
    return "1 seed" if counts == [1] else f"{counts[0]} seeds"


def depth_handles(colours: dict[int, str]) -> list[Line2D]:
    """The legend entries of depths."""
    return [Line2D([], [], color=colour, label=f"depth {depth}") for depth, colour in colours.items()]


@contextmanager
def of_depth(axes: Axes, depth: int) -> Iterator[None]:
    """What is drawn on `axes` inside belongs to `depth`: a reader of the page can hide it."""
    before = set(axes.get_children())
    yield
    for artist in set(axes.get_children()) - before:
        artist.set_gid(f"depth-{depth}")


def mark(status: str, colour: str = "#444444", label: str | None = None) -> Line2D:
    """The legend entry of runs that ended so."""
    return Line2D([], [], color=colour, marker=MARKS[status], linestyle="", label=label or status)


def count(value: float) -> str:
    """1500 -> 1.5k: a step count for an axis."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def step_axis(axes: Axes, last: float) -> None:
    """The x axis of updates made, from 0 to the last."""
    axes.set_xlim(0, last)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: count(value)))


def label_log(axes: Axes, which: str = "y") -> None:
    """Ticks of a logarithmic axis, `x` or `y`: powers of ten, or between them where it spans few."""
    axis = getattr(axes, f"{which}axis")
    low, high = axis.get_view_interval()
    axes.set(**{f"{which}lim": (low, high)})  # ticks beyond would stretch it
    if high > 100 * low:
        stride = int(np.ceil(np.log10(high / low) / 6))
        exponents = np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
        axis.set_major_locator(FixedLocator(10.0 ** exponents[exponents % stride == 0]))
        axis.set_minor_locator(NullLocator())
    else:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def save(figure: Figure, path: Path) -> None:
    """Write `figure` as PATH.svg and PATH.png. The same figure gives the same bytes."""
    no_date = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": path.name}):
        with atomic(path.with_suffix(".png")) as temporary:
            figure.savefig(temporary, format="png", dpi=300, metadata={"Software": None})
        figure.set_layout_engine("none")  # it is laid out: once is enough
        with atomic(path.with_suffix(".svg")) as temporary:
            figure.savefig(temporary, format="svg", metadata=no_date)
