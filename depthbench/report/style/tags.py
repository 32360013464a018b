"""Mark parts of a figure with what they show: the page can hide, highlight and describe them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.legend import Legend

from depthbench.report.svg import AXIS, mark

SERIES = "_depthbench_series"  # attribute of a described artist


@dataclass(frozen=True)
class Series:
    """What the points of an artist show, e.g. `plain, depth 20, seed 0; step 150: train error 12 %`."""

    name: str
    """Network, depth and seed or statistic, e.g. `plain, depth 20, mean of 3 seeds`."""
    x: str
    """Name of the horizontal position, e.g. `step`; empty to omit it."""
    y: str
    """Name of the value, e.g. `train error`."""
    unit: str = ""
    xs: Sequence[Any] | None = None
    """The horizontal values shown. None: those drawn."""
    ys: Sequence[Any] | None = None
    """The values shown. None: those drawn."""
    rows: Sequence[str] = ()
    """The name of each row of cells of a mesh. The horizontal value of a cell is the name of its row followed
    by that of its column."""
    columns: Sequence[str] = ()
    """The name of each column of cells of a mesh."""


def describe(artist: Artist, series: Series) -> None:
    """Let the page show `series` when the reader points at a point of `artist` (see `points.collect`).

    `artist` is a Line2D, a PathCollection of scattered points, a QuadMesh, or a Rectangle (one value)."""
    setattr(artist, SERIES, series)


def tag(artist: Artist, *depths: int, network: str = "") -> None:
    """Mark `artist` as showing these depths and this network.

    The page hides it if it hides any of the depths, and dims it if another network is pointed at. The axes of
    a panel stay visible, since other panels may rely on their ticks."""
    artist.set_gid(mark(depths, network))
    for axis in (artist.xaxis, artist.yaxis) if isinstance(artist, Axes) else ():
        axis.set_gid(AXIS)


def tag_legend(legend: Legend, handles: Sequence[Artist]) -> None:
    """Mark each entry of `legend` like the handle that it was made from."""
    for handle, *drawn in zip(handles, legend.legend_handles, legend.get_texts(), strict=True):
        for artist in filter(None, drawn):
            artist.set_gid(handle.get_gid())


@contextmanager
def tagged(axes: Axes, *depths: int, network: str = "") -> Iterator[None]:
    """Mark everything drawn on `axes` inside the context as showing these depths and this network."""
    before = set(axes.get_children())
    yield
    for artist in set(axes.get_children()) - before:
        tag(artist, *depths, network=network)
