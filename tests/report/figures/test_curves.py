import pandas as pd
import pytest

from depthbench.report.style import palette
from depthbench.store.results import Results
from tests.report.conftest import CHANCE
from tests.report.looking import draw, legend, panel, panels


def test_curves_test_error_is_bold_and_train_error_thin_and_dashed(results):
    handles = legend(draw("curves", results))
    test, train = handles["test error"], handles["train error, during training"]
    assert test.get_linewidth() > 2 * train.get_linewidth()
    assert (test.get_linestyle(), train.get_linestyle()) == ("-", "--")


def test_curves_end_at_the_mean_of_the_final_errors(results):
    figure = draw("curves", results)
    colour = palette.depth_colours([8, 14, 20])[20]
    line = next(x for x in panel(figure, "plain").lines if x.get_color() == colour and x.get_linewidth() > 1)
    assert line.get_xydata()[-1] == pytest.approx([200, 11 + 0.4])  # seeds 0 to 2: 11, 11.4, 11.8
    assert "mean of 3 seeds" in figure.get_suptitle()


def test_curves_mark_where_runs_ended_early(partial_results):
    figure = draw("curves", partial_results)
    marks = {
        (axes.get_title(), line.get_marker()): line.get_xydata()[0].tolist()
        for axes in panels(figure)
        for line in axes.lines
        if line.get_marker() != "None"
    }
    assert marks["plain", palette.STATUS_MARKERS["diverged"]] == [60, CHANCE]
    assert marks["resnet", palette.STATUS_MARKERS["interrupted"]][0] == 120
    assert marks["plain", palette.STATUS_MARKERS["failed"]] == [0, 0.98]  # at the top edge: it has no error
    assert len(marks) == 3
    assert panel(figure, "plain").get_ylim()[1] > CHANCE


def test_networks_without_a_twin_each_have_a_panel(results):
    third = [frame[frame["network"] == "plain"].assign(network="mine") for frame in results]
    for frame in third:
        frame["run_id"] = "mine-" + frame["run_id"]
    three = Results(*(pd.concat([a, b], ignore_index=True) for a, b in zip(results, third, strict=True)))
    assert [axes.get_title() for axes in panels(draw("curves", three))] == ["plain", "resnet", "mine"]
    assert {"plain", "resnet", "mine"} <= set(legend(draw("degradation", three)))


def test_of_many_depths_few_have_a_colour_and_both_errors(results):
    """Nine depths: the other three are in the background, with their test error alone."""
    runs, history = (
        pd.concat(
            [
                frame.assign(depth=frame["depth"] + shift, run_id=frame["run_id"] + str(shift))
                for shift in (0, 100, 200)
            ],
            ignore_index=True,
        )
        for frame in (results.runs, results.history)
    )
    figure = draw("curves", results._replace(runs=runs, history=history))
    for axes in figure.axes:
        context = [line for line in axes.lines if line.get_color() == palette.BACKGROUND]
        assert len(context) == 3
        assert len(axes.lines) - len(context) == 2 * 6
    assert "other depths, test error" in legend(figure)
    reached = draw("reach", results._replace(runs=runs, history=history))
    assert "other depths" in legend(reached)
