"""How every figure looks: sizes, colours, marks, axes. Text is 7 to 9 pt, and a canvas is as large as that
asks for: a slide's is smaller and is shown larger, and so its text and lines are larger."""

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from depthbench.files import atomic

THIN = 1.3  # pt: of a line among many


class Canvas(NamedTuple):
    """What a figure is made for. `width` (in) is its least; a panel is at least `panel` wide, and `height`
    times as high as in a paper; `ratio`, of width to height, is kept where there is one. At most `moments` of
    training are shown, a row each."""

    width: float
    panel: float
    height: float
    ratio: float | None
    moments: int
    dpi: int  # of the PNG


PAPER = Canvas(7.0, 2.3, 1, None, 4, 300)  # both columns of one
CANVASES = {
    "page": PAPER,
    "paper": PAPER,
    "slides": Canvas(16 / 3, 1.8, 0.65, 16 / 9, 2, 360),  # 1920 pixels across
}
LEAST_ROW = 1.35  # in: the name of an axis has room beside its panel
MOST_COLUMNS = 4  # of panels side by side, in a paper
CHARACTER = 0.58  # width of one, about, as a part of the font size
AXIS_NAME = 0.6  # in: room beside a row of panels for the name of its axis and the ticks
HANDLE = 4.8  # width of a legend's sign and the space around it, likewise
NOTE_SIZE = 7

STYLE = {
    "font.family": "sans-serif",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.titley": 1.0,  # nothing of ours is above a panel: else a place is sought among all ticks, each time
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
    "pdf.fonttype": 42,  # TrueType: publishers refuse the bitmaps of Type 3
}
DEPTH_MAP = "inferno"
DEPTH_RANGE = (0.76, 0.1)  # shallow to deep, light to dark; paler than this a thin line is lost on white
# Okabe and Ito 2008; the last two are of Tol's muted scheme
COLOURS = ("#0072B2", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#333333", "#E69F00", "#882255", "#999933")
AGAINST = "#333333"
CONTRASTING = ("#D55E00", "#56B4E9", "#009E73", "#CC79A7", "#0072B2", "#E69F00")  # with it, and in turn
MARKERS = ("o", "s", "^", "D", "v", "<", ">", "p", "h")
DASHES = ((None, None), (5, 2), (2, 1.5), (6, 1.5, 1, 1.5), (1, 1))
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
AXIS = "axis"  # the id of scales that are of all depths
MARKS = {"diverged": "X", "failed": "P", "interrupted": "*"}  # of runs that did not end well


_canvas: ContextVar[Canvas] = ContextVar("canvas", default=PAPER)


@contextmanager
def styled(style: str = "page") -> Iterator[None]:
    """The context that figures are made and saved in; `style` is one of CANVASES. It leaves matplotlib's
    global backend alone."""
    token = _canvas.set(CANVASES[style])
    try:
        with matplotlib.rc_context(STYLE):
            yield
    finally:
        _canvas.reset(token)


def least_width() -> float:
    """Of a figure in the style at work, in inches."""
    return _canvas.get().width


def most_moments(columns: int) -> int:
    """How many moments of training are shown, a row each, in so many columns: two where these are so many
    that all rows are repeated below for the rest of them."""
    moments = _canvas.get().moments
    return min(2, moments) if columns > MOST_COLUMNS else moments


def depth_colours(depths: Iterable[int]) -> dict[int, str]:
    """Depth -> colour, darker as it is deeper, told apart by luminance and so without colour vision."""
    depths = sorted(set(depths))
    places = np.linspace(*DEPTH_RANGE, len(depths)) if len(depths) > 1 else [0.45]
    return {
        depth: to_hex(matplotlib.colormaps[DEPTH_MAP](x)) for depth, x in zip(depths, places, strict=True)
    }


def network_looks(networks: Sequence[str]) -> dict[str, dict]:
    """Network -> the colour, marker and dashes that matplotlib's plot takes."""
    n = len(COLOURS)
    return {
        name: {
            "color": COLOURS[i % n],
            "marker": MARKERS[(i + i // n) % len(MARKERS)],  # no colour has a marker twice
            "dashes": DASHES[i % len(DASHES)],
        }
        for i, name in enumerate(networks)
    }


def study_looks(studies: Sequence[str]) -> dict[str, dict]:
    """Study -> as `network_looks`; the first, which others are held against, is dark and wide, so that a line
    that lies on its line does not hide it."""
    colours = (AGAINST, *CONTRASTING)
    looks = {
        study: look | {"color": colours[i % len(colours)], "dashes": DASHES[0], "linewidth": THIN}
        for i, (study, look) in enumerate(network_looks(studies).items())
    }
    looks[studies[0]]["linewidth"] = 2 * THIN
    return looks


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
    groups, size = _sized(rows, columns, row_height)
    across = -(-columns // groups)
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(wrapped(title, size[0], 9), x=0.01, ha="left")
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
            if by and axes is not first:
                share(first)
        axes.tick_params(labelbottom=r == rows - 1 or sharex in (False, "row"))
        axes.tick_params(labelleft=c % across == 0 or not sharey)
    return figure, panels


@contextmanager
def scaled_once(panels: np.ndarray) -> Iterator[None]:
    """What is drawn on `panels` inside sets their scales when all of it is there: panels that share one would
    find it anew, for all of them, with every band."""
    for axes in panels.flat:
        axes.autoscale(False)
    yield
    for axes in panels.flat:
        axes.autoscale(True)


def cells(
    panels: np.ndarray, networks: Sequence[str], depths: Sequence[int]
) -> Iterator[tuple[Axes, str, int]]:
    """(axes, network, depth) of each panel of a `grid` of networks x depths, which is named so, and of its
    depth."""
    for row, network in zip(panels, networks, strict=True):
        for axes, depth in zip(row, depths, strict=True):
            name_panel(axes, f"{network}, depth {depth}")
            is_of_depth(axes, depth)
            yield axes, network, depth


def _sized(rows: int, columns: int, row_height: float) -> tuple[int, tuple[float, float]]:
    """How often all rows are repeated for the rest of the columns, and the figure's width and height (in)."""
    canvas, sizes = _canvas.get(), {}
    row = max(row_height * canvas.height, min(row_height, LEAST_ROW))
    for groups in range(1, columns + 1):
        width = max(canvas.width, canvas.panel * -(-columns // groups))
        height = rows * groups * row + 0.75
        if canvas.ratio is not None:
            width = max(width, canvas.ratio * height)
            height = width / canvas.ratio
        sizes[groups] = width, height
    groups = -(-columns // MOST_COLUMNS)
    if canvas.ratio is not None:  # text is largest on the smallest canvas
        groups = min(sizes, key=sizes.get)
    return groups, sizes[groups]


def wrapped(text: str, width: float, size: float, hyphens: bool = False) -> str:
    """`text`, of `size` points, in lines that fit into `width` inches; `hyphens` may end one."""
    characters = int(0.97 * width * 72 / (CHARACTER * size))
    return "\n".join(textwrap.fill(line, characters, break_on_hyphens=hyphens) for line in text.splitlines())


def panel_title(title: str, width: float) -> str:
    """`title` in lines that fit above a panel of `width` inches."""
    held = re.sub(r"(depth|step) (?=\d)", "\\1\N{NO-BREAK SPACE}", title)
    lines = wrapped(held, width, STYLE["axes.titlesize"], hyphens=True)
    return lines.replace("\N{NO-BREAK SPACE}", " ")


def name_panel(axes: Axes, title: str, width: float | None = None) -> None:
    """A title in lines that fit above its panel, of `width` inches; as wide as the others if not given."""
    if width is None:
        width = (axes.figure.get_figwidth() - AXIS_NAME) / axes.get_gridspec().ncols
    axes.set_title(panel_title(title, width))


def is_left(axes: Axes) -> bool:
    """Whether a row of panels of `grid` begins there."""
    return axes.get_subplotspec().is_first_col()


def edges(panels: np.ndarray, shown: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of the panels of `grid` that are `shown` (rows, columns), which are the first of their row, and which
    the last of their column: they bear the ticks of all."""
    last = shown & (shown[::-1].cumsum(axis=0)[::-1] == 1)
    first = shown.copy()
    for r, c in np.ndindex(shown.shape):
        start = next(k for k in range(c, -1, -1) if is_left(panels[r, k]))
        first[r, c] &= not shown[r, start:c].any()
    return first, last


def label_left(row: Iterable[Axes], label: str) -> None:
    """Name the y axis of a row of panels of `grid`, where it begins."""
    for axes in filter(is_left, row):
        axes.set_ylabel(label)


def legend_below(figure: Figure, handles: list[Line2D], columns: int = 6, note: str | None = None) -> None:
    """A legend under the panels, where it covers no data; filled row by row, with a note above it."""
    width = figure.get_figwidth()
    columns = fitting_columns(handles, columns, width)
    by_column = [handle for start in range(columns) for handle in handles[start::columns]]
    title = note and wrapped(note, width, NOTE_SIZE)
    legend = figure.legend(
        handles=by_column, loc="outside lower center", ncols=columns, title=title, title_fontsize=NOTE_SIZE
    )
    are_of_depths(legend, by_column)


def fitting_columns(handles: Sequence[Line2D], most: int, width: float) -> int:
    """How many columns of a legend, at most, fit into `width` inches."""
    size = STYLE["legend.fontsize"] / 72
    entries = [size * (CHARACTER * len(handle.get_label()) + HANDLE) for handle in handles]
    columns = max(1, min(len(handles), most))
    while columns > 1 and sum(max(entries[start::columns]) for start in range(columns)) > width:
        columns -= 1
    return columns


def seeds(counts: Iterable[int]) -> str:
    """The seeds behind a mean, e.g. `3 seeds`, or `1 to 3 seeds` where it differs."""
    counts = sorted({int(n) for n in counts})
    if len(counts) > 1:
        return f"{counts[0]} to {counts[-1]} seeds"
    return "1 seed" if counts == [1] else f"{counts[0]} seeds"


def depth_handles(colours: dict[int, str], prefix: str = "depth ") -> list[Line2D]:
    """The legend entries of depths."""
    handles = [Line2D([], [], color=colour, label=f"{prefix}{depth}") for depth, colour in colours.items()]
    for depth, handle in zip(colours, handles, strict=True):
        is_of_depth(handle, depth)
    return handles


def is_of_depth(artist: Artist, *depths: int) -> None:
    """`artist` is of a depth, or of several: a reader of the page can hide it with any of them. The scales of
    a panel stay: others may have none of their own."""
    artist.set_gid("-".join(["depth", *map(str, depths)]))
    for axis in (artist.xaxis, artist.yaxis) if isinstance(artist, Axes) else ():
        axis.set_gid(AXIS)


def are_of_depths(legend: Legend, handles: Sequence[Line2D]) -> None:
    """The entries of `legend` are of the depths that the `handles` are of which it was made."""
    for handle, *drawn in zip(handles, legend.legend_handles, legend.get_texts(), strict=True):
        for artist in drawn:
            artist.set_gid(handle.get_gid())


@contextmanager
def of_depth(axes: Axes, *depths: int) -> Iterator[None]:
    """What is drawn on `axes` inside the context is of these depths."""
    before = set(axes.get_children())
    yield
    for artist in set(axes.get_children()) - before:
        is_of_depth(artist, *depths)


def mark(status: str, colour: str = "#444444", label: str | None = None) -> Line2D:
    """The legend entry of runs that ended so."""
    return Line2D([], [], color=colour, marker=MARKS[status], linestyle="", label=label or status)


def ending_handles(runs, words: Mapping[str, str]) -> list[Line2D]:
    """Legend entries of those of `runs` that did not end well: status -> `words`, or the status itself."""
    return [mark(status, label=words.get(status)) for status in MARKS if status in set(runs["status"])]


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
        axis.set_major_formatter(FuncFormatter(lambda value, _: power_of_ten(value)))
        axis.set_minor_locator(NullLocator())
    else:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def power_of_ten(value: float) -> str:
    """0.001 -> 10⁻³, as text: a formula takes longer to set than all else in a panel, and is not found by a
    search."""
    return "10" + str(round(np.log10(value))).translate(SUPERSCRIPTS)


def save(figure: Figure, path: Path, suffixes: Iterable[str]) -> None:
    """Write `figure` as PATH.png, .svg and .pdf: those of them that `suffixes` has, and those that an older
    report has left there. The same figure gives the same bytes.

    It is laid out once, and each file is printed by its own canvas: `savefig` would draw the figure twice for
    each, the first time to lay it out."""
    figure.set_dpi(_canvas.get().dpi)
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": path.name}):
        _skip_unlabelled(figure)
        figure.get_layout_engine().execute(figure)
        figure.set_layout_engine("none")
        for suffix, write in PRINTERS.items():
            file = path.with_suffix(suffix)
            if suffix in suffixes or file.exists():
                with atomic(file) as temporary:
                    write(figure, temporary)


def _skip_unlabelled(figure: Figure) -> None:
    """An axis without a name needs no place for it, and one without labels at its ticks no room: matplotlib
    would measure all of its ticks to find them, time and again. Of many panels most axes are such."""
    for axes in figure.axes:
        for axis, side in ((axes.xaxis, "bottom"), (axes.yaxis, "left")):
            if not axis.get_label_text():
                axis.set_label_coords(0, 0)
                axis.set_in_layout(axis.get_tick_params().get(f"label{side}", True))


def _png(figure: Figure, file: Path) -> None:
    FigureCanvasAgg(figure).print_png(file, metadata={"Software": None})


def _svg(figure: Figure, file: Path) -> None:
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    FigureCanvasSVG(figure).print_svg(file, metadata=nothing)


def _pdf(figure: Figure, file: Path) -> None:
    from matplotlib.backends.backend_pdf import FigureCanvasPdf  # and fontTools, which takes time to import

    nothing = dict.fromkeys(("CreationDate", "Creator", "Producer"))
    FigureCanvasPdf(figure).print_pdf(file, metadata=nothing)


PRINTERS = {".png": _png, ".svg": _svg, ".pdf": _pdf}
