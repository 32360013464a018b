import pytest

from depthbench.report.evidence import Comparison
from depthbench.report.figures import COMPARISON_FIGURES
from depthbench.report.style import palette
from tests.report.looking import legend, line_colours


@pytest.fixture(scope="module")
def figure(compared):
    return COMPARISON_FIGURES["compare_curves"].load().draw(compared)


def test_runs_that_ended_early_are_marked(figure):
    markers = [line.get_marker() for axes in figure.axes for line in axes.lines]
    assert (markers.count("X"), markers.count("*")) == (1, 1)  # diverged, interrupted


def test_each_network_and_depth_has_a_panel(figure):
    assert [axes.get_title() for axes in figure.axes] == [
        f"{network}, depth {depth}" for network in ("plain", "resnet") for depth in (8, 14, 20)
    ]
    assert [len({line.get_color() for line in axes.lines}) for axes in figure.axes[3:]] == [3, 2, 3]


def test_depths_that_only_one_network_has_leave_no_empty_panels(compared):
    runs = compared.joined.runs
    keep = (runs["network"] == "plain") | (runs["depth"] == 14)
    joined = compared.joined._replace(runs=runs[keep])
    other = Comparison(compared.studies)
    vars(other).update(joined=joined)
    figure = COMPARISON_FIGURES["compare_curves"].load().draw(other)
    assert [axes.get_title() for axes in figure.axes] == [
        *(f"plain, depth {depth}" for depth in (8, 14, 20)),
        "resnet, depth 14",
    ]


def test_each_of_many_studies_has_panels_with_the_first_in_the_background(many_studies):
    figure = COMPARISON_FIGURES["compare_curves"].load().draw(many_studies)
    assert [axes.get_title() for axes in figure.axes] == [
        f"{study}: {network}" for study in "abcdefg" for network in ("plain", "resnet")
    ]
    backgrounds = [sum(line.get_color() == palette.BACKGROUND for line in axes.lines) for axes in figure.axes]
    assert backgrounds == [0, 0, *[3] * 12]  # a line for each depth
    assert all(len(line_colours(axes)) == 3 for axes in figure.axes)
    assert "a, test error" in legend(figure)
