"""Short labels next to points, placed where they cover neither each other nor the data."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from depthbench.report.style import canvas, tags

DISTANCES = (8.0, 11.0, 15.0, 21.0, 28.0)  # points (1/72 in) from a point to the middle of its label
ANGLES = np.radians([45, 315, 135, 225, 0, 180, 90, 270, 22, 338, 158, 202, 68, 292, 112, 248])
WITH_LINE = 14.0  # from this distance on, a line joins point and label
CAP = 2.5  # half the length of the caps of an error bar, in points
DIGIT = (0.64, 1.05)  # width and height relative to the font size, with a gap to other labels


class Label(NamedTuple):
    """A text for the point (x, y) in data coordinates. `radius` is that of its marker in points (1/72 in).

    Without a text, its point is only kept free."""

    x: float
    y: float
    text: str
    colour: str
    depth: int
    network: str
    radius: float


def label_points(axes: Axes, labels: Iterable[Label], lines: Iterable[np.ndarray]) -> None:
    """Write each label near its point; the first labels get the nearest places. Omits labels that do not fit.

    Labels do not cover markers or `lines`, which are vertical or horizontal segments (2, 2) in data
    coordinates. The figure must be laid out already."""
    labels, size = list(labels), canvas.RC["xtick.labelsize"]
    scale = 72 / axes.figure.dpi
    panel = np.array(axes.get_window_extent().extents) * scale
    points = [axes.transData.transform((label.x, label.y)) * scale for label in labels]
    occupied = [
        np.array([*point - label.radius, *point + label.radius])
        for point, label in zip(points, labels, strict=True)
    ]
    ends = (axes.transData.transform(line) * scale for line in lines)
    occupied += [np.array([*end.min(axis=0) - CAP, *end.max(axis=0) + CAP]) for end in ends]
    for label, point in zip(labels, points, strict=True):
        if not label.text:
            continue
        half = np.array([DIGIT[0] * len(label.text), DIGIT[1]]) * size / 2
        for distance in DISTANCES:
            around = distance * size / 7 * np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)
            boxes = np.hstack([point + around - half, point + around + half])  # (angle, x0 y0 x1 y1)
            free = [i for i, box in enumerate(boxes) if _is_free(box, panel, occupied)]
            if free:
                with tags.tagged(axes, label.depth, network=label.network):
                    _write(axes, label, around[free[0]], has_line=distance > WITH_LINE)
                occupied.append(boxes[free[0]])
                break


def _is_free(box: np.ndarray, panel: np.ndarray, occupied: list[np.ndarray]) -> bool:
    """Return whether `box` (x0, y0, x1, y1) lies in the panel and overlaps nothing occupied."""
    others = np.array(occupied)
    overlaps = (box[:2] < others[:, 2:]) & (others[:, :2] < box[2:])
    inside = (box[:2] >= panel[:2]).all() and (box[2:] <= panel[2:]).all()
    return bool(inside and not overlaps.all(axis=1).any())


def _write(axes: Axes, label: Label, offset: np.ndarray, has_line: bool) -> None:
    line = {"arrowstyle": "-", "color": label.colour, "linewidth": 0.4, "shrinkA": 0, "shrinkB": 3}
    text = axes.annotate(
        label.text,
        (label.x, label.y),
        tuple(offset),
        textcoords="offset points",
        ha="center",
        va="center_baseline" if has_line else "center",
        color=label.colour,
        fontsize=canvas.RC["xtick.labelsize"],
        arrowprops=line if has_line else None,
    )
    text.set_in_layout(False)  # it is placed after the layout
