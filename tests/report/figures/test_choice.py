import itertools

import numpy as np
import pandas as pd
import pytest

from depthbench.store.results import Results
from tests.report.looking import draw, note


@pytest.fixture(scope="module")
def figure(validated):
    return draw("choice", validated)


def test_each_known_cost_has_a_panel(figure, results):
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["Parameters", "Multiply-adds", "Training time", "Peak memory"]
    assert figure.axes[0].get_ylabel() == "validation error (%)"
    assert [axes.get_title() for axes in draw("choice", results).axes] == titles[:3]


def test_the_recommended_point_is_ringed_and_the_staircase_goes_through_the_best(figure):
    """resnet has 5.2 at depth 20 (standard error 0.23) and 5.8 at depth 14. Both networks have 6.4 at 8."""
    axes = figure.axes[1]
    (ring,) = [line for line in axes.lines if line.get_markersize() == 11]
    assert ring.get_xydata()[0] == pytest.approx([0.2, 5.2])
    (stairs,) = [line for line in axes.lines if len(line.get_xdata()) > 1]
    corners = [(0.08, axes.get_ylim()[1]), (0.08, 6.4), (0.14, 6.4), (0.14, 5.8), (0.2, 5.8), (0.2, 5.2)]
    assert stairs.get_xydata().ravel() == pytest.approx(np.ravel([*corners, (axes.get_xlim()[1], 5.2)]))


def test_each_point_has_one_depth_label_that_covers_nothing(figure):
    figure.draw_without_rendering()
    for axes in figure.axes:
        boxes = [text.get_window_extent() for text in axes.texts]
        assert sorted(text.get_text() for text in axes.texts) == ["14", "14", "20", "20", "8", "8"]
        assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
        points = [axes.transData.transform(line.get_xydata()[0]) for line in axes.lines]
        assert not any(box.contains(*point) for box in boxes for point in points)


def test_without_validation_images_the_test_error_is_shown_and_no_point_ringed(results):
    figure = draw("choice", results)
    assert figure.get_suptitle().startswith("Test error against cost")
    assert "recommended" not in [text.get_text() for text in figure.legends[0].get_texts()]


def test_costs_that_cannot_be_compared_are_not_drawn(validated):
    runs = validated.runs.assign(threads=[1, 2] * 9)
    figure = draw("choice", validated._replace(runs=runs))
    assert [axes.get_title() for axes in figure.axes] == ["Parameters", "Multiply-adds"]
    assert note(figure).startswith(
        "Training time is not drawn: measured with different numbers of threads, which cannot be compared"
    )
    runs = validated.runs.assign(commit=["abc", "def"] * 9)
    assert "measured with different versions of the code" in note(
        draw("choice", validated._replace(runs=runs))
    )
    runs = validated.runs.assign(peak_memory=validated.runs["peak_memory"].where(validated.runs["depth"] > 8))
    assert note(draw("choice", validated._replace(runs=runs))) == (
        "Peak memory is not drawn: only some runs recorded it"
    )


@pytest.mark.parametrize("factor", [1, 0.001, 12])
def test_all_axes_are_always_logarithmic(validated, factor):
    runs = validated.runs.assign(val_error=validated.runs["val_error"] * factor)
    for axes in draw("choice", validated._replace(runs=runs)).axes:
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
        for ticks, (low, high) in (
            (axes.get_xticks(), axes.get_xlim()),
            (axes.get_yticks(), axes.get_ylim()),
        ):
            assert sum(low <= tick <= high for tick in ticks) >= 2


def test_an_error_of_zero_is_at_the_lower_edge(validated):
    runs = validated.runs
    figure = draw("choice", validated._replace(runs=runs.assign(val_error=10.0 * (runs["depth"] > 8))))
    axes = figure.axes[0]
    heights = {line.get_ydata()[0] for line in axes.lines if line.get_marker() in "os"}
    assert heights == {axes.get_ylim()[0], 10.0}
    assert "An error of 0 % is drawn at the lower edge" in note(figure)


@pytest.mark.parametrize("shallow", [0.0, 5.0])
def test_errors_of_zero_alone_or_beside_one_without_a_standard_error_are_drawn(validated, shallow):
    runs = validated.runs[(validated.runs["depth"] > 8) | (validated.runs["seed"] == 0)]
    runs = runs.assign(val_error=shallow * (runs["depth"] == 8))
    assert "An error of 0 % is drawn" in note(draw("choice", validated._replace(runs=runs)))


def test_of_many_points_only_the_best_are_labelled(validated):
    parts = [
        frame.assign(network=frame["network"] + name, run_id=frame["run_id"] + name)
        for frame in (validated.runs,)
        for name in "abc"
    ]
    runs = pd.concat(parts, ignore_index=True)
    axes = draw("choice", validated._replace(runs=runs)).axes[0]
    assert 0 < len(axes.texts) < 18


def test_one_point_leaves_nothing_to_choose_from(validated):
    one = Results(*(frame.query("network == 'plain' and depth == 8") for frame in validated))
    assert draw("choice", one) is None
