import itertools

import pandas as pd
import pytest

from depthbench.store.results import load_results
from tests.report.conftest import store_study, study_of
from tests.report.looking import draw, legend, note


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """Made-up results of a search: plain trains up to depth 14, and resnet at every depth."""
    study = study_of(frontier={"below": 6.0})
    return load_results(store_study(tmp_path_factory.mktemp("frontier") / "made-up", study))


def test_each_seed_is_a_line_from_the_frontier_to_the_next_tested_depth(searched):
    figure = draw("frontier", searched)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["plain", "resnet"]
    lines = [tuple(line.get_xdata()) for line in axes.lines]
    assert lines.count((14, 20)) == 3  # plain has 5 to 5.8 % at depth 14, and 8 % or more at 20
    assert lines.count((20,)) == 6  # where plain fails, and as deep as resnet was tried
    assert "6 %" in figure.get_suptitle()


def test_nothing_to_show_without_a_search_or_a_finished_run(results, searched):
    assert draw("frontier", results) is None
    begun = searched.runs.assign(status="interrupted")
    assert draw("frontier", searched._replace(runs=begun)) is None


def test_an_unfinished_search_has_a_note(searched):
    runs = searched.runs.copy()
    runs.loc[runs["run_id"] == runs["run_id"].iloc[-1], "status"] = "interrupted"
    notes = [note(draw("frontier", searched._replace(runs=each))) for each in (searched.runs, runs)]
    assert notes == ["", "The search is not finished: some runs have no final error"]


def test_a_network_that_never_trains_is_named_in_the_note(searched):
    runs = searched.runs.assign(**{"frontier.below": 0.1})
    figure = draw("frontier", searched._replace(runs=runs))
    assert note(figure) == "No tested depth trains: plain, resnet"
    assert not figure.axes[0].texts
    assert figure.axes[0].get_xlim()[1] > runs["depth"].max()  # all depths that were tried
    some = searched.runs.assign(train_error_eval=searched.runs["train_error_eval"] + 90 * (runs["seed"] == 1))
    figure = draw("frontier", searched._replace(runs=some))
    assert note(figure) == "No tested depth trains: plain (1 of 3 seeds), resnet (1 of 3 seeds)"
    runs["status"] = runs["status"].where(runs["seed"] > 0, "interrupted")
    assert "not finished" in note(draw("frontier", searched._replace(runs=runs)))


def test_the_depth_that_theory_expects_is_marked(searched):
    """Theory expects 6/ln(pi/(pi - 1)) = 15.7 layers of plain with batch norm, and nothing of resnet."""
    axes = draw("frontier", searched).axes[0]
    marks = [(line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines if line.get_marker() == "D"]
    assert marks == [(pytest.approx(15.66, abs=0.01), 0)]


def test_an_expected_depth_beyond_the_axis_is_written_at_its_edge(searched):
    runs = searched.runs.assign(**{"options.norm": "none"})  # He, less a small leak
    runs["data.shape"] = [(1, 320, 320)] * len(runs)
    axes = draw("frontier", searched._replace(runs=runs)).axes[0]
    (mark,) = [line for line in axes.lines if line.get_marker() == "D"]
    assert mark.get_xdata()[0] == axes.get_xlim()[1]
    (text,) = axes.texts
    assert int(text.get_text().replace(",", "")) > 1000


def test_rows_are_sorted_by_the_median_and_have_the_colours_of_other_figures(searched):
    """Networks whose shallowest depths differ are not in alphabetical order in the other figures."""
    runs = searched.runs.replace({"network": {"plain": "zigzag"}})
    runs = runs[(runs["network"] == "zigzag") | (runs["depth"] > 8)]
    assert list(runs["network"].unique()) == ["zigzag", "resnet"]
    results = searched._replace(runs=runs)
    axes = draw("frontier", results).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["zigzag", "resnet"]
    bars = [line.get_color() for line in axes.lines if line.get_linewidth() == 2.5]
    legend_of_errors = legend(draw("degradation", results))
    assert bars == [legend_of_errors[name].get_color() for name in ("zigzag", "resnet")]


def test_twelve_networks_are_legible(searched):
    copies = [
        searched.runs.assign(network=searched.runs["network"] + f"-{k:02}-of-the-networks") for k in range(6)
    ]
    figure = draw("frontier", searched._replace(runs=pd.concat(copies, ignore_index=True)))
    (axes,) = figure.axes
    figure.draw_without_rendering()
    names = [label.get_window_extent() for label in axes.get_yticklabels()]
    assert len(names) == 12
    assert not any(a.overlaps(b) for a, b in itertools.combinations(names, 2))
    assert all(figure.bbox.x0 <= name.x0 for name in names)
    (key,) = figure.legends
    assert key.get_window_extent().y1 < axes.xaxis.label.get_window_extent().y0
    assert key.get_window_extent().y0 >= 0


def test_errors_of_a_search_are_not_joined_over_other_seeds(searched, results):
    joined = [
        [
            line
            for line in draw("degradation", each).axes[0].lines
            if len(line.get_xdata()) > 1 and line.get_linestyle() != "None"
        ]
        for each in (searched, results)
    ]
    assert len(joined[0]) == 0
    assert len(joined[1]) == 4  # two networks, three depths
