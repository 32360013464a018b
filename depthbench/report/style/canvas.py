"""Figure sizes and matplotlib settings of each report style.

Text is 7 to 9 pt, and a canvas is as large as that text needs. A slide's canvas is smaller and is shown
enlarged, so its text and lines look larger."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import matplotlib
from matplotlib.typing import RcKeyType

MOST_COLUMNS = 3  # panels side by side on a page: with more, 7 pt are too small on a screen


class Canvas(NamedTuple):
    """Sizes of figures in one report style."""

    width: float  # in: the smallest width of a figure
    panel: float  # in: the smallest width of a panel
    height: float  # height of a panel relative to the page style
    ratio: float | None  # width / height of the figure, if fixed
    steps: int  # most training steps shown, one row each
    dpi: int  # of the PNG


PAGE = Canvas(width=7.0, panel=2.3, height=1, ratio=None, steps=4, dpi=300)  # two columns of a paper
CANVASES = {
    "page": PAGE,
    "paper": PAGE,
    "slides": Canvas(width=16 / 3, panel=1.8, height=0.65, ratio=16 / 9, steps=2, dpi=360),  # 1920 pixels
}

# Each is replaced by a variable of the page (dark.py), so no other colour may equal them.
INK, GRID, PAPER = "#1c1c1d", "#e4e4e5", "#fefeff"

RC: dict[RcKeyType, Any] = {
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.facecolor": PAPER,
    "font.family": "sans-serif",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.titley": 1.0,  # fixed: otherwise matplotlib measures every tick to place the title
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
    "grid.color": GRID,
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.5,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "figure.facecolor": PAPER,
    "svg.fonttype": "none",  # text stays text: it can be searched, copied and read aloud
    "pdf.fonttype": 42,  # TrueType: publishers refuse the bitmaps of Type 3
}

_canvas: ContextVar[Canvas] = ContextVar("canvas", default=PAGE)


@contextmanager
def styled(style: str = "page") -> Iterator[None]:
    """Draw and save figures in one of CANVASES. matplotlib's global backend stays unchanged."""
    token = _canvas.set(CANVASES[style])
    try:
        with matplotlib.rc_context(RC):
            yield
    finally:
        _canvas.reset(token)


def current_canvas() -> Canvas:
    """Return the canvas of the enclosing `styled`."""
    return _canvas.get()


def is_slide() -> bool:
    """Return whether the enclosing `styled` draws slides, which have fewer panels."""
    return _canvas.get().ratio is not None


def most_rows(columns: int) -> int:
    """Return how many rows of `columns` panels a figure shows, e.g. one for each training step.

    If the columns do not fit side by side, each row is split. A page then shows at most two rows,
    and a slide one."""
    steps = _canvas.get().steps
    if columns <= MOST_COLUMNS:
        return steps
    return 1 if is_slide() else min(2, steps)
