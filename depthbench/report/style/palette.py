"""Colours, markers and dashes of depths, networks, studies and run statuses."""

from collections.abc import Iterable, Sequence
from typing import Literal, TypedDict

import matplotlib
import numpy as np
from matplotlib.colors import to_hex
from matplotlib.transforms import Transform

THIN = 1.3  # pt: a line among many
GREY = "#444444"  # zero lines, and legend entries that stand for every colour
BACKGROUND = "#c9c9cd"  # lines that only give context
DEPTH_MAP = "inferno"
DEPTH_RANGE = (0.76, 0.1)  # shallow to deep, light to dark; a paler thin line is lost on white
# Okabe and Ito 2008; the last two are from Tol's muted scheme
COLOURS = ("#0072B2", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#333333", "#E69F00", "#882255", "#999933")
BASELINE = "#333333"  # the study that others are compared with
CONTRASTING = ("#D55E00", "#56B4E9", "#009E73", "#CC79A7", "#0072B2", "#E69F00")  # the studies compared
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
    """Map each depth to a colour. Deeper is darker, so depths differ in luminance, not only in hue."""
    depths = sorted(set(depths))
    positions = np.linspace(*DEPTH_RANGE, len(depths)) if len(depths) > 1 else [0.45]
    return {
        depth: to_hex(matplotlib.colormaps[DEPTH_MAP](x)) for depth, x in zip(depths, positions, strict=True)
    }


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
