import pytest

from depthbench.report.figures.paper_errors import MARK, TOP
from depthbench.report.style import palette
from depthbench.store.results import Results, load_results
from tests.report.conftest import CHANCE, STEPS, store_study, study_of
from tests.report.looking import draw as draw_figure
from tests.report.looking import legend, note, panel, panels

TIMES = 320  # 200 made-up steps stand for 64,000


def long(results):
    """The same results, of 64,000 steps."""
    runs = results.runs.assign(steps=results.runs["steps"] * TIMES)
    return results._replace(runs=runs, history=results.history.assign(step=results.history["step"] * TIMES))


def draw(results):
    return draw_figure("paper_errors", results)


@pytest.fixture(scope="module")
def published_data(tmp_path_factory):
    """Results on data with the name of the paper's data set."""
    study = study_of(depths=(20, 32, 56), data={"name": "cifar10"})
    return long(load_results(store_study(tmp_path_factory.mktemp("named") / "made-up", study)))


@pytest.fixture(scope="module")
def figure(published_data):
    return draw(published_data)


def test_axes_are_those_of_the_paper(figure):
    assert [axes.get_title() for axes in panels(figure)] == ["plain", "resnet"]
    for axes in panels(figure):
        assert (axes.get_ylim(), axes.get_xlim()) == ((0, TOP), (0, 6.4))
        assert [tick for tick in axes.get_xticks() if tick <= 6.4] == [0, 1, 2, 3, 4, 5, 6]
        assert axes.get_xlabel() == "iterations (1e4)"


def test_test_error_is_bold_and_ends_at_the_mean(figure):
    colour = palette.depth_colours([20, 32, 56])[20]
    lines = [x for x in panel(figure, "plain").lines if x.get_color() == colour]
    test, train = sorted(lines, key=lambda line: -line.get_linewidth())
    assert test.get_linewidth() > 2 * train.get_linewidth()
    assert (test.get_linestyle(), train.get_linestyle()) == ("-", "--")
    assert test.get_xydata()[-1] == pytest.approx([6.4, 11.4])  # seeds 11, 11.4, 11.8
    assert train.get_ydata()[-1] == pytest.approx(10.4, abs=0.5)  # 2 more in training mode, 3 less than test


def test_each_panel_names_the_depths_that_it_shows_as_the_paper_does(figure):
    """plain-56 stays above 20 %."""
    names = [[text.get_text() for text in axes.get_legend().get_texts()] for axes in panels(figure)]
    assert names == [["plain-20", "plain-32"], ["ResNet-20", "ResNet-32", "ResNet-56"]]


def test_published_ends_are_marked_at_the_right_edge(figure):
    marks = [
        line.get_xydata()[0].tolist()
        for line in panel(figure, "resnet").lines
        if line.get_marker() == MARK["marker"]
    ]
    assert marks == [[1, 8.75], [1, 7.51], [1, 6.97]]
    assert not any(line.get_marker() == MARK["marker"] for line in panel(figure, "plain").lines)
    assert "published, Table 6" in legend(figure)


def test_other_data_has_no_published_ends(results):
    figure = draw(results)
    assert not any(line.get_marker() == MARK["marker"] for axes in panels(figure) for line in axes.lines)
    assert not any("published" in name for name in legend(figure))
    assert note(figure) == ""


def test_networks_that_stay_above_the_axis_are_named(figure):
    assert note(figure) == "Test error never below 20 %: plain-56"  # 29 and more


def test_diverged_and_unfinished_runs_are_named(tmp_path):
    endings = {("plain", 8, 1): ("diverged", 20), ("plain", 14, 0): ("diverged", 60)}
    endings |= {("resnet", 8, 0): ("interrupted", 60), ("resnet", 8, 1): None}
    study = study_of(depths=(8, 14), seeds=(0, 1))
    figure = draw(load_results(store_study(tmp_path / "made-up", study, endings)))
    assert note(figure).splitlines() == [
        "Test error never below 20 %: plain-8",  # plain-14 was, until it diverged
        "Diverged, then at chance error: plain-8 (1 of 2), plain-14 (1 of 2)",
        "No run has finished: ResNet-8",
    ]


def test_a_short_run_fills_the_axis(results):
    axes = panels(draw(results))[0]
    assert axes.get_xlim() == (0, STEPS)


def test_a_single_evaluation_is_drawn_as_a_point(results):
    history = results.history[results.history["step"] == STEPS]
    lines = panel(draw(results._replace(history=history)), "resnet").lines
    assert {line.get_marker() for line in lines} == {"o"}


@pytest.mark.parametrize("changed", [{"options.norm": "none"}, {"network": "mine"}, {"family": "mine"}])
def test_networks_that_are_not_in_the_paper_give_no_figure(results, changed):
    assert draw(results._replace(runs=results.runs.assign(**changed))) is None


def test_errors_that_never_reach_the_axis_give_no_figure(results):
    history = results.history.assign(test_error=CHANCE)
    runs = results.runs.assign(test_error=CHANCE)
    assert draw(Results(runs, history, results.layers)) is None
