"""Positions are computed by hand on a panel of known place: a figure of 4 x 2 inches is 288 x 144 points."""

import math

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from depthbench.report.style import points, tags
from depthbench.report.style.norms import NormScale
from tests.report.looking import described_points

WIDTH, HEIGHT = 288.0, 144.0
SERIES = tags.Series("plain, depth 20", "step", "train error", "%")


def panel(dpi=100.0, xlim=(0, 10), ylim=(0, 100)):
    """A panel that fills the figure, so that its corners are those of the file."""
    figure = Figure(figsize=(4, 2), dpi=dpi)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=xlim, ylim=ylim)
    return figure, axes


def points_of(figure):
    (series,) = points.collect(figure)
    return series["points"]


@pytest.mark.parametrize("dpi", [72, 100, 300])
def test_a_line_has_its_vertices_from_the_top_left_corner_on(dpi):
    figure, axes = panel(dpi)
    (line,) = axes.plot([0, 5, 10], [0, 25, 100])
    tags.describe(line, SERIES)
    tags.tag(line, 20, network="plain")
    assert points.collect(figure) == [
        {
            "name": "plain, depth 20",
            "x": "step",
            "y": "train error",
            "unit": "%",
            "id": "shows:depth-20.network-plain",
            "points": [[0, HEIGHT, 0, 0], [144, 108, 5, 25], [WIDTH, 0, 10, 100]],
        }
    ]


def test_what_is_not_described_is_omitted():
    figure, axes = panel()
    axes.plot([0, 5], [0, 25])
    assert points.collect(figure) == []


def test_an_untagged_artist_has_the_mark_of_its_panel():
    figure, axes = panel()
    (line,) = axes.plot([1], [2])
    tags.describe(line, SERIES)
    tags.tag(axes, 20)
    assert points.collect(figure)[0]["id"] == "shows:depth-20"


def test_the_values_shown_may_differ_from_those_drawn():
    figure, axes = panel()
    (line,) = axes.plot([0, 5], [0, 50])
    tags.describe(line, tags.Series("a", "layer", "norm", xs=["1, step 0", "2, step 0"], ys=[0.0, 1e-24]))
    assert points_of(figure) == [[0, HEIGHT, "1, step 0", 0], [144, 72, "2, step 0", 1e-24]]


def test_values_and_points_must_be_as_many():
    figure, axes = panel()
    (line,) = axes.plot([0, 5], [0, 50])
    tags.describe(line, tags.Series("a", "x", "y", ys=[1]))
    with pytest.raises(ValueError, match="shorter"):
        points.collect(figure)


def test_both_axes_may_be_logarithmic():
    figure, axes = panel(xlim=(1, 10_000), ylim=(1e-6, 1))
    axes.set(xscale="log", yscale="log", xlim=(1, 10_000), ylim=(1e-6, 1))
    (line,) = axes.plot([1, 100, 10_000], [1e-6, 1e-3, 1])
    tags.describe(line, SERIES)
    assert points_of(figure) == [[0, HEIGHT, 1, 1e-6], [144, 72, 100, 0.001], [WIDTH, 0, 10_000, 1]]


def test_zero_has_no_place_on_a_log_axis():
    figure, axes = panel()
    axes.set_yscale("log", nonpositive="mask")
    axes.set_ylim(0.01, 1)
    (line,) = axes.plot([0, 5], [0, 0.1])
    tags.describe(line, SERIES)
    assert points_of(figure) == [[144, 72, 5, 0.1]]


def test_a_compressed_scale_is_followed():
    figure, axes = panel()
    scale = NormScale([1e-30, 1])
    scale.apply([axes])
    low, high = axes.get_ylim()
    (line,) = axes.plot([0, 5, 10], [high, 1e-3, low])
    tags.describe(line, SERIES)
    top, middle, bottom = (y for _, y, *_ in points_of(figure))
    assert (top, bottom) == (0, HEIGHT)
    assert 0.55 * HEIGHT < middle < 0.75 * HEIGHT  # three of 4.5 decades, and margins


@pytest.mark.parametrize("value", [math.nan, np.nan])
def test_nan_is_omitted(value):
    figure, axes = panel()
    (line,) = axes.plot([0, 5, 10], [0, value, 100])
    tags.describe(line, SERIES)
    assert [x for _, _, x, _ in points_of(figure)] == [0, 10]


def test_infinity_is_shown_as_text():
    assert [points.shown(value) for value in (math.inf, -math.inf)] == ["inf", "-inf"]


def test_a_point_outside_of_its_panel_is_omitted():
    figure, axes = panel()
    (line,) = axes.plot([-5, 0, 5, 15], [50, 50, 101, 50], clip_on=False)
    tags.describe(line, SERIES)
    # 101 % lies 1.4 pt above the panel
    assert points_of(figure) == [[0, 72, 0, 50]]


def test_a_mark_may_lie_just_outside():
    figure, axes = panel()
    (line,) = axes.plot([5], [100.5], clip_on=False)
    tags.describe(line, SERIES)
    assert points_of(figure) == [[144, -0.7, 5, 100.5]]


def test_a_point_in_fractions_of_the_panel_has_the_value_given():
    figure, axes = panel()
    (line,) = axes.plot([5], [0.98], transform=axes.get_xaxis_transform())
    tags.describe(line, tags.Series("plain", "", "status", ys=["failed"]))
    assert points_of(figure) == [[144, 2.9, 5, "failed"]]


def test_a_scatter_has_its_offsets():
    figure, axes = panel()
    drawn = axes.scatter([2.5, np.nan, 7.5], [50, 10, 75])
    tags.describe(drawn, SERIES)
    assert points_of(figure) == [[72, 72, 2.5, 50], [216, 36, 7.5, 75]]


def test_a_scatter_on_log_axes_has_its_offsets():
    figure, axes = panel()
    axes.set(xscale="log", xlim=(1, 100), ylim=(0, 100))
    drawn = axes.scatter([1, 10], [50, 25])
    tags.describe(drawn, SERIES)
    assert points_of(figure) == [[0, 72, 1, 50], [144, 108, 10, 25]]


def test_a_mesh_is_a_grid_of_the_middles_of_its_cells():
    figure, axes = panel(xlim=(0, 4), ylim=(2, 0))  # the first row is on top, as in a heat map
    drawn = axes.pcolormesh(np.ma.masked_equal([[1.0, 2.0, 0.0, np.nan], [5.0, 6.0, 7.0, 8.0]], 0))
    tags.describe(
        drawn, tags.Series("a", "layer", "norm", rows="12", columns=[f", step {i}" for i in range(4)])
    )
    (series,) = points.collect(figure)
    assert series["grid"] == {
        "left": [36, 108, 180, 252],
        "top": [36, 108],
        "columns": [", step 0", ", step 1", ", step 2", ", step 3"],
        "rows": ["1", "2"],
        "values": [1, 2, None, None, 5, 6, 7, 8],
    }
    assert described_points(series)[3:5] == [[108, 108, "2, step 1", 6], [180, 108, "2, step 2", 7]]


def test_a_horizontal_bar_has_its_middle_and_its_width():
    figure, axes = panel()
    (bar,) = axes.barh([50], [4], height=20)
    tags.describe(bar, tags.Series("plain", "", "recall", "%", xs=["cat"]))
    assert points_of(figure) == [[57.6, 72, "cat", 4]]


def test_a_patch_of_another_kind_says_what_to_do():
    figure, axes = panel()
    drawn = axes.fill_between([0, 1], [0, 1])
    tags.describe(drawn, SERIES)
    with pytest.raises(TypeError, match=r"extend style/points\.py"):
        points.collect(figure)
    assert Rectangle is not type(drawn)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.int64(1202), 1202),
        (12.0, 12),
        (0.123456, 0.1235),
        (7.8e-26, 7.8e-26),
        (1234567.0, 1.235e6),
        (np.bool_(True), "True"),
        ("failed", "failed"),
    ],
)
def test_numbers_have_four_digits(value, expected):
    assert points.shown(value) == expected
    assert type(points.shown(value)) is type(expected)
