import pandas as pd

from depthbench.report.tables.reach import build, reach_table
from tests.report.conftest import evidence_of, study_of
from tests.report.tables.rows import rows

ROW = {"network": "plain", "depth": 20, "n": 3, "reached": 1, "diverged": 1, "median": float("nan")}
ROW |= {"earliest": 150.0, "latest": 150.0, "observed": 300.0}


def test_late_and_not_within_the_budget_read_differently(results):
    (late,) = rows(build(evidence_of(results)), network="plain", depth="20")  # 8, 8.4, 8.8 % and what is left
    assert late["reached"] == "3 of 3"
    assert late["not reached"] == ""
    (never,) = rows(reach_table(pd.DataFrame([ROW]), 10, (300, 300)))
    assert never["median (steps)"] == "above 300"
    assert never["not reached"] == "2 within 300 steps, 1 of which diverged"


def test_a_median_that_divergence_excludes_is_not_a_number_of_steps():
    (row,) = rows(reach_table(pd.DataFrame([ROW | {"diverged": 2}]), 10, (300, 300)))
    assert row["median (steps)"] == "none, as most diverged"


def test_if_no_run_reaches_it_one_line_says_so(results):
    study = study_of(verdict={"reach": 0.5})
    table = build(evidence_of(results, study))
    assert table.shown.empty
    assert table.nothing == "No run reached a train error of 0.5 % within 200 steps."


def test_one_evaluation_shows_nothing(results):
    history = results.history.copy()
    history.loc[history["step"] < 200, ["train_error_eval", "test_error"]] = float("nan")
    assert build(evidence_of(results._replace(history=history))) is None
