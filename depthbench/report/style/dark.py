"""Colours of a figure on a dark page.

Ink, grid and paper become variables of the page. Each other colour gets a dark variant: the same hue with its
lightness mirrored (in OKLab, Ottosson 2020). So what stands out on white stands out on the dark page, and
what only gives context stays in the background."""

import re
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection, PolyCollection, QuadMesh
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text

from depthbench.report.style.canvas import GRID, INK, PAPER

VARIABLES = {INK: "var(--ink)", GRID: "var(--grid)", PAPER: "var(--paper)"}
MIRROR = (1.15, -0.9)  # the lightness of a variant: the first, plus the second times that of the colour
LIGHTNESS = (0.38, 0.96)  # of variants that stand out
CELLS = (0.24, 0.96)  # of variants of cells: the lightest cells are close to the colour of the page

# OKLab: linear sRGB -> cone responses -> (their cube roots) -> lightness, green to red, blue to yellow
TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def themed(svg: str, figure: Figure) -> str:
    """Replace the colours of the text of an SVG file of `figure` by ones that follow the page.

    A heat map drawn as a picture keeps its colours, and so does text on it."""
    variants: dict[str, str] = {}
    for artist in figure.findobj():
        lightness = CELLS if _is_mesh(artist) or _is_on_mesh(artist) else LIGHTNESS
        variants |= {colour: dark_variant(colour, lightness) for colour in map(to_hex, _colours(artist))}
    replaced = {colour: f"light-dark({colour}, {dark})" for colour, dark in variants.items()} | VARIABLES
    pattern = re.compile("|".join(map(re.escape, replaced)), re.IGNORECASE)
    return pattern.sub(lambda match: replaced[match.group().lower()], svg)


def dark_variant(colour: str, between: tuple[float, float] = LIGHTNESS) -> str:
    """Return the colour (hexadecimal) that stands for `colour` on the dark page.

    Its lightness is `between` two values."""
    lightness, a, b = _lab(np.array(to_rgb(colour)))
    mirrored = float(np.clip(MIRROR[0] + MIRROR[1] * lightness, *between))
    for chroma in np.linspace(1, 0, 21):  # the most saturated one that a screen can show
        rgb = _rgb(np.array([mirrored, chroma * a, chroma * b]))
        if np.all((rgb >= 0) & (rgb <= 1)):
            break
    return to_hex(np.clip(rgb, 0, 1))


def linear(rgb: np.ndarray) -> np.ndarray:
    """Return the light intensities of sRGB values; all are 0 to 1."""
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def _lab(rgb: np.ndarray) -> np.ndarray:
    return TO_LAB @ np.cbrt(TO_CONES @ linear(rgb))


def _rgb(lab: np.ndarray) -> np.ndarray:
    intensities = np.linalg.inv(TO_CONES) @ (np.linalg.inv(TO_LAB) @ lab) ** 3
    sign = np.sign(intensities)
    size = np.abs(intensities)
    return sign * np.where(size <= 0.0031308, 12.92 * size, 1.055 * size ** (1 / 2.4) - 0.055)


def _colours(artist: Artist) -> list:
    """Return the colours of an artist that follow the page."""
    if isinstance(artist, Line2D):
        own = [artist.get_color(), artist.get_markerfacecolor(), artist.get_markeredgecolor()]
    elif isinstance(artist, PathCollection | PolyCollection | QuadMesh) and not artist.get_rasterized():
        own = [*artist.get_facecolor(), *artist.get_edgecolor()]
    elif isinstance(artist, Patch):
        own = [artist.get_facecolor(), artist.get_edgecolor()]
    elif isinstance(artist, Text) and not (_is_on_mesh(artist) and _has_picture(artist.axes)):
        own = [artist.get_color()]
    else:
        own = []
    return [colour for colour in own if not isinstance(colour, str) or colour not in ("none", "auto")]


def _is_on_mesh(artist: Artist) -> bool:
    """Return whether `artist` is text inside a panel with a heat map."""
    axes = artist.axes
    return isinstance(axes, Axes) and artist in axes.texts and any(map(_is_mesh, axes.collections))


def _has_picture(axes: Any) -> bool:
    return axes is not None and any(each.get_rasterized() for each in axes.collections)


def _is_mesh(artist: Artist) -> bool:
    return isinstance(artist, QuadMesh)
