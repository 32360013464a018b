import numpy as np

from depthbench.report.style import palette
from tests.report.conftest import study_of
from tests.report.looking import draw, legend, panel, panels

COLOURS = palette.depth_colours([8, 14, 20])


def line(axes, depth):
    return next(x for x in axes.lines if x.get_color() == COLOURS[depth] and len(x.get_xdata()) > 1)


def test_a_curve_rises_when_seeds_reach_the_level(results):
    """resnet-8 has 2, 2.4 and 2.8 % plus 80 exp(-step / 30): at most 10 % from steps 69, 71 and 72 on."""
    curve = line(panel(draw("reach", results), "resnet"), 8)
    assert np.array(curve.get_xydata()).tolist() == [[0, 0], [80, 100], [200, 100]]
    assert curve.get_drawstyle() == "steps-post"


def test_runs_that_have_not_reached_it_are_marked_where_they_end(results, partial_results):
    study = study_of(verdict={"reach": 3.0})
    figure = draw("reach", results, study=study)
    marks = [x for x in panel(figure, "plain").lines if x.get_marker() == ">"]
    assert {tuple(x.get_xydata()[0]) for x in marks if x.get_color() == COLOURS[20]} == {(200, 0)}
    assert "not reached so far" in legend(figure)
    figure = draw("reach", partial_results)
    (diverged,) = (
        x
        for axes in panels(figure)
        for x in axes.lines
        if x.get_marker() == palette.STATUS_MARKERS["diverged"]
    )
    assert diverged.get_xydata()[0][0] == 200  # its planned end
    assert "diverged, cannot reach it" in legend(figure)


def test_nothing_to_show_without_two_evaluations_or_if_no_run_reaches_it(results):
    history = results.history.copy()
    history.loc[history["step"] < 200, ["train_error_eval", "test_error"]] = np.nan
    assert draw("reach", results._replace(history=history)) is None
    assert draw("reach", results, study=study_of(verdict={"reach": 0.5})) is None


def test_the_title_names_the_level(results):
    assert "10 %" in draw("reach", results).get_suptitle()
    assert "2.5 %" in draw("reach", results, study=study_of(verdict={"reach": 2.5})).get_suptitle()
