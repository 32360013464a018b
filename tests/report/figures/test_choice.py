import itertools

import numpy as np
import pytest

from depthbench.analysis.choice import choose
from depthbench.report import FIGURES
from depthbench.report import sentences as headline
from depthbench.report.figures.choice import draw
from depthbench.report.style import styled
from depthbench.report.tables import all as tables
from depthbench.store.results import Results


@pytest.fixture(scope="module")
def validated(results):
    """As if validation errors were test errors and one, and memory were measured; plain-8 is cheapest."""
    runs = results.runs
    memory = runs["multiply_adds"] * 1000.0
    return results._replace(
        runs=runs.assign(val_error=runs["test_error"] + 1, peak_memory=memory, peak_memory_of="process")
    )


@pytest.fixture(scope="module")
def figure(validated):
    return FIGURES["choice"].draw(validated)


def test_a_panel_a_cost_that_is_known(figure, results):
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["Parameters", "Multiply-adds", "Training time", "Peak memory"]
    assert figure.axes[0].get_ylabel() == "validation error (%)"
    assert [axes.get_title() for axes in FIGURES["choice"].draw(results).axes] == titles[:3]


def test_the_recommended_point_is_ringed_and_the_stairs_lead_through_the_best(figure):
    """resnet: 5.2 at depth 20, standard error 0.23; at 14 5.8. 8 is 6.4 for both."""
    axes = figure.axes[1]
    (ring,) = [line for line in axes.lines if line.get_markersize() == 11]
    assert ring.get_xydata()[0] == pytest.approx([0.2, 5.2])
    (stairs,) = [line for line in axes.lines if len(line.get_xdata()) > 1]
    corners = [(0.08, axes.get_ylim()[1]), (0.08, 6.4), (0.14, 6.4), (0.14, 5.8), (0.2, 5.8), (0.2, 5.2)]
    assert stairs.get_xydata().ravel() == pytest.approx(np.ravel([*corners, (axes.get_xlim()[1], 5.2)]))


def test_every_depth_is_written_once_a_point_and_over_nothing(figure):
    figure.draw_without_rendering()
    for axes in figure.axes:
        boxes = [text.get_window_extent() for text in axes.texts]
        assert sorted(text.get_text() for text in axes.texts) == ["14", "14", "20", "20", "8", "8"]
        assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
        points = [axes.transData.transform(line.get_xydata()[0]) for line in axes.lines]
        assert not any(box.contains(*point) for box in boxes for point in points)


def test_without_validation_images_it_shows_the_test_error_and_rings_nothing(results):
    figure = FIGURES["choice"].draw(results)
    assert figure.get_suptitle().startswith("Test error against cost")
    assert "recommended" not in [text.get_text() for text in figure.legends[0].get_texts()]


def test_costs_that_cannot_be_compared_are_named(validated):
    runs = validated.runs.assign(threads=[1, 2] * 9)
    note = FIGURES["choice"].draw(validated._replace(runs=runs)).legends[0].get_title().get_text()
    assert note.startswith("Training time: not comparable, measured with different numbers of threads")


def test_one_point_leaves_nothing_to_choose_from(validated):
    one = Results(*(frame.query("network == 'plain' and depth == 8") for frame in validated))
    with styled():
        assert draw(one) is None
    assert headline.choice(choose(one.runs)) == []


def test_the_recommendation_is_told_with_its_evidence(validated):
    runs = validated.runs
    assert headline.choice(choose(runs)) == [
        "Take resnet at depth 20: validation error 5.20 ± 0.23 % (mean ± standard error, n = 3) at 0.2 "
        "million multiply-adds an image and 0.02 million parameters. It is the best, and nothing with fewer "
        "multiply-adds comes within one standard error of it.",
        "The least depth within one standard error of each network's own best: plain 8, resnet 20.",
    ]
    near = runs.assign(val_error=runs["val_error"].where(runs["depth"] > 8, 5.3))
    assert headline.choice(choose(near))[0] == (
        "Take plain at depth 8: validation error 5.30 % (n = 3) at 0.08 million multiply-adds an image and "
        "0.008 million parameters. It has the fewest multiply-adds within one standard error of the "
        "best, resnet at depth 20 (5.20 ± 0.23 %, mean ± standard error, n = 3), which has 2.5 times as many."
    )
    some = near[(near["seed"] == 0) | (near["depth"] != 8) | (near["network"] != "resnet")]
    assert headline.choice(choose(some))[0] == "Depths of fewer than 2 seeds are not judged."
    caution, same, _ = headline.choice(choose(near), unfinished=2)
    assert caution == "This may change yet: 2 runs of the study have no final errors."
    assert same.startswith("Take plain at depth 8")


def test_where_nothing_is_recommended_it_says_how_to_get_it(results, validated):
    (told,) = headline.choice(choose(results.runs))
    assert "--set data.val_fraction=0.1" in told
    (told,) = headline.choice(choose(validated.runs.query("seed == 0")))
    assert "--seeds 3" in told


def test_the_table_words_what_is_chosen_and_leaves_out_what_is_not_known(results, validated):
    table = tables.choice_table(choose(validated.runs), {"seconds": ["threads"]})
    best = table.shown.iloc[-1]
    assert best["recommended"] == "of all, of its network"
    assert best["lowest error at its"] == "parameters, multiply-adds, peak memory"  # times do not compare
    assert best["validation error, mean (%)"] == "5.20"
    assert "The time cannot be compared: threads differ" in table.note
    without = tables.choice_table(choose(results.runs), {}).shown
    assert {"recommended", "peak memory (MB)"}.isdisjoint(without)
