"""Colours, markers and dashes of depths, networks, studies and run statuses."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypedDict

import numpy as np
from matplotlib.colors import to_hex, to_rgb
from matplotlib.transforms import Transform

THIN = 1.3  # pt: a line among many
MOST_DEPTHS = 6  # in colour: more lines cannot be told apart
GREY = "#444444"  # zero lines, and legend entries that stand for every colour
BACKGROUND = "#babac0"  # lines that only give context
# Shallow to deep, each darker than the one before. These and the first six of COLOURS were found by a search
# for the largest differences under four kinds of colour vision, on a white page and on a dark one. See
# tests/report/style/vision.py.
DEPTHS = ("#b4891a", "#cb5560", "#9c5788", "#764fcc", "#4b3397", "#0d2c4d", "#0b0e0e")
COLOURS = (
    *("#07537a", "#cf4705", "#4e8e65", "#b5789a", "#26240c", "#8873f5"),
    *("#8a2050", "#8a8420", "#1a8c96"),  # of further networks, which are also told apart by their markers
)
BASELINE = COLOURS[4]  # the study that others are compared with
CONTRASTING = (*COLOURS[1:4], COLOURS[0], *COLOURS[5:])  # the studies compared
MOST_STUDIES = 6  # in one panel; if there are more, each has its own, with the baseline in the background
MARKERS = ("o", "s", "^", "D", "v", "<", ">", "p", "h")
DASHES: tuple[tuple[float | None, ...], ...] = ((None, None), (5, 2), (2, 1.5), (6, 1.5, 1, 1.5), (1, 1))
STATUS_MARKERS = {"diverged": "X", "failed": "P", "interrupted": "*"}


class Look(TypedDict, total=False):
    """The look of a line or its markers: keyword arguments of matplotlib's plot and Line2D."""

    color: str
    linewidth: float
    linestyle: Literal["", "-"]
    dashes: tuple[float | None, ...]
    marker: str
    markersize: float
    markerfacecolor: str
    markeredgecolor: str
    markeredgewidth: float
    alpha: float
    zorder: float
    clip_on: bool
    transform: Transform


def depth_colours(depths: Iterable[int]) -> dict[int, str]:
    """Map each depth to a colour. Deeper has more contrast to the page, so depths differ not only in hue."""
    depths = sorted(set(depths))
    count, last = len(depths), len(DEPTHS) - 1
    places = np.linspace(0, last, count) if count > 1 else np.array([last / 2])
    if count <= len(DEPTHS):
        return {depth: DEPTHS[round(place)] for depth, place in zip(depths, places, strict=True)}
    stops = np.array([to_rgb(colour) for colour in DEPTHS])
    channels = [np.interp(places, np.arange(len(DEPTHS)), channel) for channel in stops.T]
    return {depth: to_hex(rgb) for depth, rgb in zip(depths, np.transpose(channels), strict=True)}


def nested_widths(keys: Sequence[Any]) -> dict[Any, float]:
    """Map each key to a line width (pt) that grows from THIN.

    If the last line is drawn first, every one of several lines that coincide is visible."""
    step = min(0.5, 1.5 / max(len(keys) - 1, 1))
    return {key: THIN - 0.2 + step * i for i, key in enumerate(keys)}


def chosen_depth_colours(depths: Sequence[int]) -> dict[int, str]:
    """Map each depth to its colour.

    Of many depths, only the first, the last and some between have a colour. The others are in the
    background."""
    if len(depths) <= MOST_DEPTHS:
        return depth_colours(depths)
    chosen = {depths[round(i * (len(depths) - 1) / (MOST_DEPTHS - 1))] for i in range(MOST_DEPTHS)}
    return dict.fromkeys(depths, BACKGROUND) | depth_colours(chosen)


def named_depths(colours: dict[int, str]) -> dict[int, str]:
    """Return the depths that have a colour of their own."""
    return {depth: colour for depth, colour in colours.items() if colour != BACKGROUND}


def network_looks(networks: Sequence[str]) -> dict[str, Look]:
    """Map each network to the colour, marker and dashes that matplotlib's plot takes."""
    n = len(COLOURS)
    return {
        name: {
            "color": COLOURS[i % n],
            "marker": MARKERS[(i + i // n) % len(MARKERS)],  # no colour repeats a marker
            "dashes": DASHES[i % len(DASHES)],
        }
        for i, name in enumerate(networks)
    }


def study_looks(studies: Sequence[str]) -> dict[str, Look]:
    """Map each study to the look of its lines, as in `network_looks`.

    The first, the baseline, is dark and wide, so that a line on top of it does not hide it."""
    colours = (BASELINE, *CONTRASTING)
    looks = {
        study: look | {"color": colours[i % len(colours)], "dashes": DASHES[0], "linewidth": THIN}
        for i, (study, look) in enumerate(network_looks(studies).items())
    }
    looks[studies[0]]["linewidth"] = 2 * THIN
    return looks
