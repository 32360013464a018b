import math

import numpy as np
import pandas as pd
import pytest

from depthbench.analysis.reach import evaluated_steps, reach, reach_curves, reach_times

PLANNED = 100


def tables(errors, statuses=None):
    """Runs and history of one network. errors: seed -> {step: train error in evaluation mode}."""
    runs, rows = [], []
    for seed, by_step in errors.items():
        run = {"run_id": f"run{seed}", "network": "plain", "depth": 20, "seed": seed}
        status = (statuses or {}).get(seed, "done")
        runs.append(run | {"status": status, "step": max(by_step, default=0), "steps": PLANNED})
        rows += [run | {"step": step, "train_error_eval": error} for step, error in by_step.items()]
        rows.append(run | {"step": 5, "train_error_eval": math.nan})  # logged, not evaluated
    return pd.DataFrame(runs), pd.DataFrame(rows)


def times_of(steps):
    """`reach_times` of one network: (step, reached) of each seed."""
    runs, history = tables(
        {seed: {step: 0.0 if reached else 90.0} for seed, (step, reached) in enumerate(steps)}
    )
    return reach_times(runs, history, 10)


def test_the_first_evaluation_at_the_level_counts_even_if_the_error_rises_again():
    runs, history = tables({0: {20: 50.0, 40: 10.0, 60: 70.0, 80: 5.0}})
    (row,) = reach_times(runs, history, 10).itertuples()
    assert (row.step, row.reached) == (40, True)
    assert reach_times(runs, history, 9).loc[0, "step"] == 80


def test_a_run_that_never_reaches_it_is_censored_at_its_last_evaluation():
    errors = {0: {20: 90.0, 60: 20.0}, 1: {20: 90.0}, 2: {}}
    runs, history = tables(errors, {0: "interrupted", 1: "diverged", 2: "failed"})
    times = reach_times(runs, history, 10).set_index("seed")
    assert not times["reached"].any()
    assert times["step"].to_dict() == {0: 60, 1: PLANNED}  # a diverged run never reaches it; seed 2: unknown


def test_a_run_that_diverged_after_reaching_it_has_reached_it():
    runs, history = tables({0: {20: 5.0}}, {0: "diverged"})
    (row,) = reach(runs, history, 10).itertuples()
    assert (row.reached, row.diverged, row.median) == (1, 0, 20)


def test_kaplan_meier_by_hand():
    """20, 40 censored, 60, 60, 80 censored: 1/5 by 20; of the 3 left at 60 two reach it."""
    times = times_of([(20, True), (40, False), (60, True), (60, True), (80, False)])
    curve = reach_curves(times).set_index("step")
    assert curve["reached"].to_dict() == pytest.approx(
        {0: 0.0, 20: 1 / 5, 40: 1 / 5, 60: 1 - 4 / 5 * 1 / 3, 80: 1 - 4 / 5 * 1 / 3}
    )
    assert curve["at_risk"].to_dict() == {0: 5, 20: 5, 40: 4, 60: 3, 80: 1}
    assert curve["censored"].to_dict() == {0: 0, 20: 0, 40: 1, 60: 0, 80: 1}


@pytest.mark.parametrize(
    ("steps", "median"),
    [
        ([(20, True), (40, False), (60, True), (60, True), (80, False)], 60),
        ([(20, True), (40, True), (60, True)], 40),
        ([(20, True), (40, True)], 20),  # half have reached it
        ([(20, True), (20, True), (20, True)], 20),
        ([(20, True), (60, False), (60, False)], np.nan),  # one third
        ([(20, False), (40, True)], 40),  # the one observed until then reaches it
        ([(40, True), (40, False)], 40),  # a tie: the censored run is observed at step 40
        ([(60, False)], np.nan),
    ],
)
def test_median(steps, median):
    runs, history = tables(
        {seed: {step: 0.0 if reached else 90.0} for seed, (step, reached) in enumerate(steps)}
    )
    (row,) = reach(runs, history, 10).itertuples()
    assert row.median == pytest.approx(median, nan_ok=True)
    assert (row.n, row.reached) == (len(steps), sum(reached for _, reached in steps))


def test_without_evaluations_there_are_no_rows():
    runs, history = tables({0: {}})
    assert reach(runs, history, 10).empty
    assert list(reach(runs, history, 10))[:4] == ["network", "depth", "n", "reached"]
    assert reach_curves(reach_times(runs, history, 10)).empty
    assert evaluated_steps(runs, history) == []
