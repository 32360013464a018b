import pytest

from depthbench.report.evidence import Evidence
from depthbench.report.style import palette
from tests.report.looking import draw, legend, panel, panels, stays_on_paper


@pytest.fixture(scope="module")
def evidence(swept):
    return Evidence.load(swept)


def test_each_network_has_a_panel_with_a_line_and_the_best_value_of_each_depth(evidence):
    figure = draw("sweep", evidence)
    assert [axes.get_title() for axes in panels(figure)] == ["plain", "resnet"]
    axes = panel(figure, "plain")
    assert (axes.get_xlabel(), axes.get_xscale()) == ("learning rate", "log")
    colours = palette.depth_colours([8, 14, 20])
    markers = {line.get_color(): line.get_xdata()[0] for line in axes.lines if line.get_marker() == "v"}
    assert markers == {colours[depth]: pytest.approx(0.8 / depth) for depth in (8, 14, 20)}
    line = next(each for each in axes.lines if each.get_color() == colours[20] and each.get_marker() == "o")
    assert line.get_xdata().tolist() == [0.01, 0.03, 0.1, 0.3, 1.0]
    assert line.get_ydata()[-1] == 90
    figure.draw_without_rendering()
    assert stays_on_paper(figure)


def test_diverged_cells_are_marked_where_they_are(evidence):
    figure = draw("sweep", evidence)
    diverged = palette.STATUS_MARKERS["diverged"]
    marked = {
        axes.get_title(): sorted(
            (line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines if line.get_marker() == diverged
        )
        for axes in panels(figure)
    }
    assert marked == {"plain": [(1.0, 90.0), (1.0, 90.0)], "resnet": []}
    assert "with diverged runs, at chance error" in legend(figure)


def test_the_best_value_against_depth_has_each_seed_and_the_ends_of_the_sweep(evidence):
    figure = draw("sweep_movement", evidence)
    (axes,) = figure.axes
    assert (axes.get_xscale(), axes.get_yscale(), axes.get_ylabel()) == ("log", "log", "best learning rate")
    plain = next(line for line in axes.lines if line.get_color() == palette.COLOURS[0])
    assert plain.get_ydata() == pytest.approx([0.1, 0.8 / 14, 0.04])
    assert {line.get_ydata()[0] for line in axes.lines if line.get_color() == palette.GREY} == {0.01, 1.0}
    assert sum(len(dots.get_offsets()) for dots in axes.collections) == 18
    figure.draw_without_rendering()
    assert stays_on_paper(figure)


def test_a_study_without_a_sweep_has_neither_figure(results):
    assert draw("sweep", results) is None
    assert draw("sweep_movement", results) is None
