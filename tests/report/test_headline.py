from depthbench.analysis.missing import missing_runs
from depthbench.analysis.summary import summarise
from depthbench.report import headline
from tests.report.conftest import study_of


def test_statuses_count_every_run_and_those_not_begun(partial_results):
    missing = missing_runs([study_of().grid.model_dump()], partial_results.runs)
    told = headline.statuses(partial_results.runs, missing)
    assert told == "17 runs: 14 done, 1 diverged, 1 failed, 1 interrupted; 1 more of the grid not begun"


def test_degradation_states_both_ends_their_n_and_the_difference(results):
    assert headline.degradation(summarise(results.runs)) == [
        "plain: mean train error 2.40 % at depth 8 (n = 3) and 8.40 % at depth 20 (n = 3): "
        "+6.00 percentage points.",
        "resnet: mean train error 2.40 % at depth 8 (n = 3) and 1.20 % at depth 20 (n = 3): "
        "-1.20 percentage points.",
    ]


def test_one_depth_has_no_difference(results):
    runs = results.runs[(results.runs["depth"] == 8) & (results.runs["network"] == "plain")]
    assert headline.degradation(summarise(runs)) == ["plain: mean train error 2.40 % at depth 8 (n = 3)."]


def test_no_finished_run_says_nothing(results):
    assert headline.degradation(summarise(results.runs.assign(status="interrupted"))) == []
