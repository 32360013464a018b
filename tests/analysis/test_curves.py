import numpy as np
import pandas as pd

from depthbench.analysis.curves import MOST_POINTS, mean_curves, thin


def study(*runs):
    """Return results of runs, each as (seed, status, final error, {step: error})."""
    rows = [
        {"run_id": f"r{seed}", "network": "plain", "depth": 20, "status": status, "test_error": final}
        for seed, status, final, _ in runs
    ]
    history = [
        {"run_id": f"r{seed}", "step": step, "test_error": error}
        for seed, _, _, errors in runs
        for step, error in errors.items()
    ]
    return pd.DataFrame(rows), pd.DataFrame(history)


def curve(*runs):
    table = mean_curves(*study(*runs), "test_error")
    return table[["step", "mean", "low", "high", "n"]].to_numpy().tolist()


def test_mean_and_range_over_seeds():
    one, two = (0, "done", 10.0, {50: 30.0, 100: 10.0}), (1, "done", 20.0, {50: 50.0, 100: 20.0})
    assert curve(one, two) == [[50, 40, 30, 50, 2], [100, 15, 10, 20, 2]]


def test_a_diverged_run_stays_in_the_mean_at_chance_error():
    done = (0, "done", 10.0, {50: 30.0, 100: 10.0})
    assert curve(done, (1, "diverged", 90.0, {50: 40.0}))[-1] == [100, 50, 10, 90, 2]
    assert curve(done, (1, "diverged", 90.0, {}))[0] == [50, 60, 30, 90, 2]


def test_a_run_that_stopped_early_keeps_its_final_error():
    early = (1, "done", 20.0, {50: 20.0})
    assert curve((0, "done", 10.0, {50: 30.0, 100: 10.0}), early)[-1] == [100, 15, 10, 20, 2]


def test_an_unfinished_run_is_omitted():
    assert curve((0, "done", 10.0, {50: 30.0}), (1, "interrupted", 70.0, {50: 70.0})) == [[50, 30, 30, 30, 1]]


def test_rows_without_a_value_are_omitted():
    runs, history = study((0, "done", 10.0, {50: np.nan, 100: 10.0}))
    assert mean_curves(runs, history, "test_error")["step"].tolist() == [100]


def test_no_finished_run_gives_an_empty_table():
    runs, history = study((0, "interrupted", 70.0, {50: 70.0}))
    table = mean_curves(runs, history, "test_error")
    assert table.empty
    assert "mean" in table


def test_long_curves_are_thinned_and_keep_their_end():
    table = pd.DataFrame({"x": range(2501)})
    short = thin(table)
    assert MOST_POINTS / 2 < len(short) <= MOST_POINTS
    assert short.index[-1] == 2500
    assert set(np.diff(short.index)) == {5}
