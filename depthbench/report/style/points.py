"""The points of a figure as data for the page: where they are, and what they show."""

import math
from collections.abc import Iterator, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection, QuadMesh
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from depthbench.report.style.tags import SERIES, Series

POINTS_PER_INCH = 72  # unit of an SVG file of matplotlib
SLACK = 1.0  # pt outside of a panel where the middle of a point may lie


def collect(figure: Figure) -> list[dict[str, Any]]:
    """Return the described series of a laid out figure, as JSON.

    Keys of a series: `name`, `x`, `y`, `unit` (see tags.Series); `id`, the mark of the artist (svg.mark);
    `points`, a list of [left, top, x, y]: position in the SVG file, and the values shown. Points outside of
    their panel, and values that are NaN, are omitted. A mesh has many cells, so it has `grid` instead: their
    `left` and `top`, the names of `columns` and `rows`, and their `values` row by row, null for NaN."""
    scale = POINTS_PER_INCH / figure.dpi
    height = figure.get_figheight() * POINTS_PER_INCH
    found = []
    for axes in figure.axes:
        corners = np.array(axes.get_window_extent().extents) * scale
        for artist in axes.get_children():
            series: Series | None = getattr(artist, SERIES, None)
            if series is None:
                continue
            described: dict[str, Any] = {
                "name": series.name,
                "x": series.x,
                "y": series.y,
                "unit": series.unit,
            }
            described["id"] = artist.get_gid() or _mark_of(axes)
            if isinstance(artist, QuadMesh):
                found.append(described | {"grid": _grid(artist, series, scale, height)})
                continue
            points = [
                [round(float(left), 1), round(float(height - bottom), 1), shown(x), shown(y)]
                for (left, bottom), x, y in _points(artist, series, scale)
                if _is_inside(left, bottom, corners) and not _is_nan(y)
            ]
            if points:
                found.append(described | {"points": points})
    return found


def shown(value: Any) -> Any:
    """Return a value as the page shows it: numbers with four significant digits, others as text."""
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        number = float(value)
        if not math.isfinite(number):
            return str(number)
        return int(number) if number == int(number) and abs(number) < 1e6 else float(f"{number:.4g}")
    return str(value)


def _grid(mesh: QuadMesh, series: Series, scale: float, height: float) -> dict[str, list]:
    """Return the cells of a mesh whose rows are horizontal, with the values of `series` if it has any."""
    corners = np.asarray(mesh.get_coordinates())  # (rows + 1, columns + 1, 2)
    middles = (corners[:-1, :-1] + corners[1:, 1:]) / 2
    rows, columns = middles.shape[:2]
    places = mesh.get_transform().transform(middles.reshape(-1, 2)).reshape(rows, columns, 2) * scale
    drawn: list[float] = np.ma.filled(np.ma.asarray(mesh.get_array(), float), np.nan).ravel().tolist()
    values = _chosen(series.ys, drawn)
    assert (len(series.rows), len(series.columns), len(values)) == (rows, columns, rows * columns)
    return {
        "left": [round(float(left), 1) for left in places[0, :, 0]],
        "top": [round(float(height - bottom), 1) for bottom in places[:, 0, 1]],
        "columns": list(series.columns),
        "rows": list(series.rows),
        "values": [None if _is_nan(value) else shown(value) for value in values],
    }


def _points(artist: Artist, series: Series, scale: float) -> Iterator[tuple[np.ndarray, Any, Any]]:
    """Yield the position (pt from the lower left corner), x and y of each point of an artist."""
    positions, xs, ys = _data(artist)
    chosen_xs, chosen_ys = _chosen(series.xs, xs), _chosen(series.ys, ys)
    yield from zip(positions * scale, chosen_xs, chosen_ys, strict=True)


def _chosen(given: Sequence[Any] | None, drawn: Sequence[Any]) -> Sequence[Any]:
    return drawn if given is None else list(given)


def _data(artist: Artist) -> tuple[np.ndarray, Sequence[Any], Sequence[Any]]:
    """Return the positions (pixels) of the points of an artist, and their x and y."""
    if isinstance(artist, Line2D):
        xy = np.column_stack([np.asarray(artist.get_xdata(), float), np.asarray(artist.get_ydata(), float)])
        return artist.get_transform().transform(xy), *_columns(artist.get_xdata(), artist.get_ydata())
    if isinstance(artist, PathCollection):
        xy = np.asarray(artist.get_offsets(), float)
        return artist.get_offset_transform().transform(xy), *_columns(xy[:, 0], xy[:, 1])
    if isinstance(artist, Rectangle):
        x, y = artist.get_center()
        assert artist.axes is not None
        return artist.axes.transData.transform([[x, y]]), [x], [artist.get_width()]
    raise TypeError(f"points of {type(artist).__name__} are not known: extend style/points.py")


def _columns(x: Any, y: Any) -> tuple[list[Any], list[Any]]:
    return np.asarray(x).tolist(), np.asarray(y).tolist()


def _is_inside(left: float, bottom: float, corners: np.ndarray) -> bool:
    (x0, y0), (x1, y1) = corners[:2] - SLACK, corners[2:] + SLACK
    return bool(x0 <= left <= x1 and y0 <= bottom <= y1)  # False for NaN


def _is_nan(value: Any) -> bool:
    return isinstance(value, Real) and math.isnan(value)


def _mark_of(axes: Axes) -> str:
    return axes.get_gid() or ""
