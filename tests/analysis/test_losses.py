"""Final losses of next-token prediction."""

import math

import numpy as np
import pandas as pd
import pytest

from depthbench.analysis.losses import final_losses


def runs(**columns):
    count = len(next(iter(columns.values())))
    made = {
        "network": ["transformer"] * count,
        "depth": [2] * count,
        "status": ["done"] * count,
        "predicts": ["next characters"] * count,
        "train_loss_eval": [math.nan] * count,
        "test_loss": [math.nan] * count,
    }
    return pd.DataFrame(made | columns)


def test_means_are_in_nats_and_bits():
    table = final_losses(runs(test_loss=[1.0, 2.0, 1.8], train_loss_eval=[0.5, 0.7, 0.6]))
    assert table["set"].tolist() == ["train", "test"]
    test = table.iloc[1]
    assert test[["n", "mean", "min", "max"]].tolist() == [3, pytest.approx(1.6), 1.0, 2.0]
    assert test["bits"] == pytest.approx(1.6 / math.log(2))
    assert np.isnan(test["low"])  # of three seeds


def test_diverged_and_unfinished_runs_are_left_out():
    table = final_losses(runs(test_loss=[1.0, 9.0, 9.0], status=["done", "diverged", "interrupted"]))
    assert table[["set", "n", "mean"]].values.tolist() == [["test", 1, 1.0]]


@pytest.mark.parametrize("predicts", ["next characters", None])
def test_runs_without_losses_have_no_rows(predicts):
    table = final_losses(runs(test_loss=[None, None], predicts=[predicts] * 2))
    assert table.empty
    assert {"network", "depth", "set", "n", "mean", "bits"} <= set(table)


def test_an_interval_of_five_seeds_may_exceed_100():
    table = final_losses(runs(test_loss=[90.0, 100.0, 110.0, 120.0, 131.0]))
    assert table.iloc[0]["low"] < 110 < table.iloc[0]["high"]
    assert table.iloc[0]["high"] > 111
