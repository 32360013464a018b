import pandas as pd

from depthbench.analysis.summary import summarise


def runs(*rows):
    columns = ["network", "depth", "status", "train_error_eval", "test_error", "best_test_error"]
    return pd.DataFrame(rows, columns=columns)


def test_mean_and_range_of_three_seeds():
    frame = runs(*[("plain", 20, "done", error, error + 4, 0.0) for error in (1.0, 2.0, 3.0)])
    row = summarise(frame).iloc[0]
    assert (row["n"], row["train_error_eval_mean"], row["test_error_mean"]) == (3, 2.0, 6.0)
    assert (row["train_error_eval_min"], row["train_error_eval_max"]) == (1.0, 3.0)
    assert row[["train_error_eval_low", "train_error_eval_high"]].isna().all()


def test_five_seeds_have_an_interval_between_0_and_100():
    frame = runs(*[("plain", 20, "done", error, error, 0.0) for error in (0.0, 0.1, 0.2, 0.3, 9.0)])
    row = summarise(frame).iloc[0]
    assert 0 <= row["test_error_low"] < row["test_error_mean"] < row["test_error_high"] <= 100


def test_a_diverged_run_counts_at_the_chance_error_that_is_stored():
    frame = runs(("plain", 20, "done", 10.0, 10.0, 9.0), ("plain", 20, "diverged", 90.0, 90.0, 50.0))
    row = summarise(frame).iloc[0]
    assert (row["n"], row["diverged"], row["test_error_mean"]) == (2, 1, 50.0)


def test_runs_without_final_errors_are_counted_but_not_averaged():
    frame = runs(
        ("plain", 20, "done", 1.0, 2.0, 2.0),
        ("plain", 20, "interrupted", 70.0, 70.0, 70.0),
        ("plain", 20, "failed", None, None, None),
    )
    row = summarise(frame).iloc[0]
    assert (row["seeds"], row["done"], row["interrupted"], row["failed"], row["n"]) == (3, 1, 1, 1, 1)
    assert row["test_error_mean"] == 2.0
    assert pd.isna(row["test_error_low"])
    assert pd.isna(row["test_error_high"])


def test_a_network_whose_runs_all_failed_keeps_its_row():
    row = summarise(runs(("plain", 20, "failed", None, None, None))).iloc[0]
    assert row["n"] == 0
    assert pd.isna(row["train_error_eval_mean"])


def test_rows_are_ordered_by_network_and_depth():
    frame = runs(*[(n, d, "done", 1.0, 1.0, 1.0) for d in (110, 20) for n in ("resnet", "plain")])
    table = summarise(frame)
    cells = list(zip(table["network"], table["depth"], strict=True))
    assert cells == [("plain", 20), ("plain", 110), ("resnet", 20), ("resnet", 110)]
