import pandas as pd
import pytest
from matplotlib.figure import Figure

from depthbench.report.figures.degradation import MANY_SEEDS, PANELS, error_axis
from depthbench.report.style import tags
from depthbench.store.results import load_results
from tests.report.conftest import CHANCE, store_study, study_of
from tests.report.looking import draw, legend, panel


def test_degradation_shows_every_seed_and_mean(results):
    axes = panel(draw("degradation", results), "test error")
    points = sorted(
        (*line.get_xydata()[0],)
        for line in axes.lines
        if line.get_marker() in "os" and len(line.get_xdata()) == 1
    )
    assert len(points) == 18
    assert points[:3] == [(8, pytest.approx(5)), (8, pytest.approx(5)), (8, pytest.approx(5.4))]
    means = [line.get_ydata().tolist() for line in axes.lines if line.get_linestyle() == "-"]
    assert means[0] == pytest.approx([5.4, 8.4])
    assert means[1] == pytest.approx([8.4, 11.4])
    assert not axes.collections  # of 3 seeds there is no interval


def test_many_seeds_of_a_depth_are_one_object_that_names_each_seed(tmp_path):
    path = store_study(tmp_path / "many", study_of(networks=["plain"], seeds=range(MANY_SEEDS + 1)))
    results = load_results(path)
    axes = panel(draw("degradation", results), "test error")
    runs = results.runs[results.runs["depth"] == 14]
    (points,) = (line for line in axes.lines if list(line.get_xdata()) == [14] * len(runs))
    assert points.get_ydata().tolist() == runs["test_error"].tolist()
    series = getattr(points, tags.SERIES)
    assert (series.name, series.x, series.xs) == ("plain, depth 14", "seed", runs["seed"].tolist())


def test_degradation_marks_runs_that_ended_early(partial_results):
    figure = draw("degradation", partial_results)
    axes = panel(figure, "train error, evaluation mode")
    marks = {
        line.get_marker(): line.get_xydata()[0].tolist()
        for line in axes.lines
        if line.get_marker() in set("XP*")
    }
    assert marks == {"X": [20, CHANCE], "P": [14, 0.98], "*": [20, 0.98]}  # two at the top edge
    assert "1 to 3 seeds" in figure.get_suptitle()
    assert "diverged, counted at chance error" in legend(figure)


def test_degradation_of_depths_far_apart_is_logarithmic(tmp_path):
    path = store_study(tmp_path / "far", study_of(depths=(8, 110), seeds=(0,)))
    axes = panel(draw("degradation", load_results(path)), "test error")
    assert axes.get_xscale() == "log"
    assert axes.get_xticks().tolist() == [8, 110]


@pytest.mark.parametrize(("depths", "turned"), [((20, 56, 110), False), ((110, 164, 998), True)])
def test_tick_labels_that_would_overlap_are_rotated(depths, turned, tmp_path):
    path = store_study(tmp_path / "close", study_of(depths=depths, seeds=(0,)))
    axes = panel(draw("degradation", load_results(path)), "test error")
    assert {label.get_rotation() for label in axes.get_xticklabels()} == {90.0 if turned else 0.0}


def test_a_tick_whose_label_would_cover_that_of_the_depth_before_has_none(tmp_path):
    path = store_study(tmp_path / "closer", study_of(depths=(110, 116, 122, 998), seeds=(0,)))
    figure = draw("degradation", load_results(path))
    axes = panel(figure, "test error")
    assert axes.get_xticks().tolist() == [110, 998]
    assert axes.get_xticks(minor=True).tolist() == [116, 122]
    figure.draw_without_rendering()
    assert [label.get_text() for label in axes.get_xticklabels(minor=True)] == ["", ""]


@pytest.mark.parametrize("known", [(), ("train_error_eval",), ("test_error",)])
def test_errors_that_no_run_has_leave_their_panel_or_the_figure_empty(results, known):
    missing = {error: None for error in ("train_error_eval", "test_error") if error not in known}
    figure = draw("degradation", results._replace(runs=results.runs.assign(**missing)))
    assert (figure is not None) == bool(known)
    if figure is not None:
        low, high = figure.axes[0].get_ylim()
        assert low < 0 < high < 107


@pytest.mark.parametrize(("error", "top"), [(0.0, 1.06), (float("nan"), 106.0), (float("inf"), 106.0)])
def test_the_axis_is_scaled_to_known_errors_and_to_all_without_one(error, top):
    ends = {f"{column}_{key}": [error] for column in PANELS for key in ("high", "max")}
    axes = Figure().subplots()
    error_axis(axes, pd.DataFrame(ends))
    assert axes.get_ylim()[1] == pytest.approx(top)
