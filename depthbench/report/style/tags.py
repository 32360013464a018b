"""Mark parts of a figure with the depths they show, so that the page can hide them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.legend import Legend

from depthbench.report.svg import AXIS, depth_id


def tag_depth(artist: Artist, *depths: int) -> None:
    """Mark `artist` as showing these depths. The page hides it if it hides any of them.

    The axes of a panel stay visible, since other panels may rely on their ticks."""
    artist.set_gid(depth_id(*depths))
    for axis in (artist.xaxis, artist.yaxis) if isinstance(artist, Axes) else ():
        axis.set_gid(AXIS)


def tag_legend(legend: Legend, handles: Sequence[Artist]) -> None:
    """Mark each entry of `legend` with the depths of the handle that it was made from."""
    for handle, *drawn in zip(handles, legend.legend_handles, legend.get_texts(), strict=True):
        for artist in filter(None, drawn):
            artist.set_gid(handle.get_gid())


@contextmanager
def tagged(axes: Axes, *depths: int) -> Iterator[None]:
    """Mark everything drawn on `axes` inside the context as showing these depths."""
    before = set(axes.get_children())
    yield
    for artist in set(axes.get_children()) - before:
        tag_depth(artist, *depths)
