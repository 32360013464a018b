import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from depthbench.report.style import legends, palette, tags
from depthbench.report.svg import AXIS, mark


@pytest.fixture
def axes():
    return Figure().subplots()


def test_an_artist_has_the_mark_of_its_depths_and_network(axes):
    (line,) = axes.plot([0, 1])
    tags.tag(line, 20, 56, network="plain")
    assert line.get_gid() == mark([20, 56], "plain")


def test_the_axis_of_a_panel_stays_visible(axes):
    tags.tag(axes, 20)
    assert axes.get_gid() == mark([20])
    assert {axes.xaxis.get_gid(), axes.yaxis.get_gid()} == {AXIS}


def test_everything_drawn_inside_is_tagged_and_nothing_else(axes):
    (before,) = axes.plot([0, 1])
    with tags.tagged(axes, 20, network="plain"):
        (line,) = axes.plot([0, 1])
        band = axes.fill_between([0, 1], [0, 1])
        text = axes.annotate("a", (0, 0))
    (after,) = axes.plot([0, 1])
    assert [x.get_gid() for x in (line, band, text)] == [mark([20], "plain")] * 3
    assert [x.get_gid() for x in (before, after)] == [None, None]


def test_an_inner_tag_is_replaced_by_the_outer_one(axes):
    with tags.tagged(axes, 20), tags.tagged(axes, 56):
        (line,) = axes.plot([0, 1])
    assert line.get_gid() == mark([20])


def test_a_described_artist_keeps_its_series(axes):
    (line,) = axes.plot([0, 1])
    series = tags.Series("plain", "step", "train error", "%")
    tags.describe(line, series)
    assert getattr(line, tags.SERIES) is series


def test_the_entries_of_a_legend_have_the_marks_of_their_handles():
    figure = Figure()
    figure.subplots()
    handles = [
        *legends.depth_handles(palette.depth_colours([20, 56])),
        *legends.network_handles(palette.network_looks(["my net"])),
        Line2D([], [], label="theory"),
    ]
    legends.legend_below(figure, handles)
    (legend,) = figure.legends
    marks = {
        text.get_text(): (text.get_gid(), handle.get_gid())
        for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True)
    }
    assert marks == {
        "depth 20": (mark([20]),) * 2,
        "depth 56": (mark([56]),) * 2,
        "my net": (mark(network="my net"),) * 2,
        "theory": (None, None),
    }
