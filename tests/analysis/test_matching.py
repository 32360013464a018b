import pandas as pd
import pytest

from depthbench.analysis.matching import match_twins
from depthbench.networks import NETWORKS, Family


def run(network, **changes):
    values = {
        "run_id": f"{network}-20-s0",
        "network": network,
        "family": network,
        "depth": 20,
        "seed": 0,
        "step": 100,
    }
    hashes = {"initial_weights_hash": "w", "batches_hash": "b", "parameters": 272_474}
    return values | hashes | changes


def match(*runs, history=()):
    columns = ["run_id", "step", "batch_hash"]
    return match_twins(pd.DataFrame(runs), pd.DataFrame(list(history), columns=columns))


def test_twins_that_share_everything_have_one_row():
    table = match(run("resnet"), run("plain"))
    assert table[["network", "twin"]].to_numpy().tolist() == [["plain", "resnet"]]
    row = table.iloc[0]
    assert row[["parameters", "initial_weights", "batches"]].tolist() == [True, True, True]
    assert row["batches_compared"] == 100


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("parameters", {"parameters": 1}),
        ("initial_weights", {"initial_weights_hash": "other"}),
        ("batches", {"batches_hash": "other"}),
    ],
)
def test_a_difference_is_reported(column, change):
    row = match(run("plain"), run("resnet", **change)).iloc[0]
    differing = [key for key in ("parameters", "initial_weights", "batches") if not row[key]]
    assert differing == [column]


def test_a_hash_that_was_not_recorded_gives_na():
    row = match(run("plain"), run("resnet", initial_weights_hash=None, batches_hash=None)).iloc[0]
    assert row["initial_weights"] is pd.NA
    assert row["batches"] is pd.NA


@pytest.mark.parametrize(("hash_at_60", "same"), [("h60", True), ("else", False)])
def test_runs_of_unequal_length_are_compared_at_their_last_common_row(hash_at_60, same):
    history = [(run_id, step, f"h{step}") for run_id in ("plain-20-s0",) for step in (30, 60, 100)]
    history += [("resnet-20-s0", 30, "h30"), ("resnet-20-s0", 60, hash_at_60)]
    row = match(run("plain"), run("resnet", step=60, batches_hash="other"), history=history).iloc[0]
    assert bool(row["batches"]) is same
    assert row["batches_compared"] == 60


def test_runs_with_no_common_row_cannot_be_compared():
    row = match(run("plain"), run("resnet", step=60)).iloc[0]
    assert row["batches"] is pd.NA
    assert row["batches_compared"] is pd.NA


@pytest.mark.parametrize("other", [{"depth": 56}, {"seed": 1}, {"family": "unknown"}])
def test_only_twins_of_one_depth_and_seed_are_compared(other):
    table = match(run("plain"), run("resnet") | other)
    assert table.empty
    assert "initial_weights" in table


def test_variants_with_equal_settings_are_twins():
    bare, rapid = {"options.norm": "none"}, {"options.norm": "none", "recipe.lr": 0.5}
    table = match(
        run("plain-bare", family="plain", **bare | {"recipe.lr": 0.1}),
        run("plain-rapid", family="plain", **rapid),
        run("resnet", **{"options.norm": "batch", "recipe.lr": 0.1}),
        run("resnet-rapid", family="resnet", **rapid),
    )
    assert table[["network", "twin"]].to_numpy().tolist() == [["plain-rapid", "resnet-rapid"]]


def test_a_plug_in_may_name_a_twin_that_has_another(monkeypatch):
    monkeypatch.setitem(NETWORKS, "block", Family("nowhere:Block", twin="plain"))
    table = match(run("block"), run("plain"), run("resnet"))
    assert table[["network", "twin"]].to_numpy().tolist() == [["plain", "resnet"], ["plain", "block"]]
