import math

import numpy as np
import pandas as pd
import pytest

from depthbench.analysis.deviations import baselines, changes, deviations, largest_first

STUDY = {
    "options": {"norm": "batch"},
    "recipe": {"lr": 0.1, "nesterov": False},
    "data": {"normalisation": "pixel"},
    "variants": {
        "calm": {"of": "plain", "options": {}, "recipe": {}},
        "nesterov": {"of": "plain", "baseline": "plain", "recipe": {"nesterov": True}},
        "channel": {"of": "plain", "baseline": "plain", "data": {"normalisation": "channel"}},
    },
}


def tables(errors, diverged=()):
    """Return runs and history of errors {network: {depth: [error of each seed]}}; test errors are 5 more."""
    runs, history = [], []
    for network, by_depth in errors.items():
        for depth, seeds in by_depth.items():
            for seed, error in enumerate(seeds):
                run = {"run_id": f"{network}-{depth}-{seed}", "network": network, "family": "plain"}
                run |= {"depth": depth, "seed": seed, "steps": 100}
                run |= {"status": "diverged" if (network, depth, seed) in diverged else "done"}
                values = {"train_error_eval": error, "test_error": error + 5}
                runs.append(run | values)
                history.append({"run_id": run["run_id"], "step": 100} | values)
    return pd.DataFrame(runs), pd.DataFrame(history)


def test_only_variants_with_a_baseline_are_compared():
    assert baselines(STUDY) == {"nesterov": "plain", "channel": "plain"}
    assert baselines({}) == {}


def test_the_changes_are_the_settings_that_differ_from_those_of_the_baseline():
    assert changes(STUDY, "nesterov", "plain") == {"recipe.nesterov": (True, False)}
    assert changes(STUDY, "channel", "plain") == {"data.normalisation": ("channel", "pixel")}
    assert changes(STUDY, "calm", "plain") == {}
    assert changes(STUDY, "channel", "nesterov") == {
        "data.normalisation": ("channel", "pixel"),
        "recipe.nesterov": (False, True),
    }
    longer = {"variants": {"long": {"of": "resnet", "budget": 3.0, "recipe": {"clip_norm": 1.0}}}}
    assert changes(longer, "long", "plain") == {
        "of": ("resnet", "plain"),
        "budget": (3.0, 1.0),
        "recipe.clip_norm": (1.0, None),
    }


def test_a_setting_that_equals_that_of_the_study_is_no_change():
    study = STUDY | {"variants": {"same": {"of": "plain", "recipe": {"lr": 0.1}}}}
    assert changes(study, "same", "plain") == {}


def test_differences_are_paired_by_seed_and_their_statistics_are_those_of_the_pairs():
    errors = {"plain": {8: [10, 20, 30, 40, 50]}, "nesterov": {8: [11, 22, 33, 44, 55]}}
    found = deviations(*tables(errors), STUDY)
    assert found["error"].tolist() == ["train error", "test error"]
    row = found.iloc[0]
    assert (row["network"], row["baseline"], row["depth"], row["n"]) == ("nesterov", "plain", 8, 5)
    assert (row["first"], row["other"], row["mean"]) == (30, 33, 3)
    assert row["differences"] == {0: 1, 1: 2, 2: 3, 3: 4, 4: 5}
    assert row["low"] < 3 < row["high"]
    assert row["p"] == pytest.approx(2 * 0.0066, rel=0.02)  # t = 3 / (1.581 / 2.236) = 4.243, 4 degrees
    assert row["p_holm"] == row["p"]
    assert row["diverged"] == 0


def test_p_is_corrected_over_the_variants_of_a_baseline_at_one_depth():
    study = STUDY | {"variants": STUDY["variants"] | {"deep": {"of": "plain", "baseline": "calm"}}}
    noise = np.array([0.1, -0.1, 0.2])
    errors = {
        name: {8: list(10 + shift + noise * scale), 20: list(20 + shift + noise * scale)}
        for name, shift, scale in (
            ("plain", 0, 0),
            ("nesterov", 1, 1),
            ("channel", 2, 2),
            ("calm", 0, 0),
            ("deep", 1, 1),
        )
    }
    found = deviations(*tables(errors), study)
    one = found[(found["error"] == "train error") & (found["depth"] == 8)].set_index("network")
    assert one.loc["nesterov", "p_holm"] == pytest.approx(2 * one.loc["nesterov", "p"])
    assert one.loc["deep", "p_holm"] == one.loc["deep", "p"]


def test_seeds_without_a_pair_and_variants_without_a_baseline_are_left_out():
    errors = {"plain": {8: [10, 20]}, "nesterov": {8: [11, 22, 33], 20: [5]}}
    found = deviations(*tables(errors), STUDY)
    assert found["n"].tolist() == [2, 2]
    assert found["depth"].tolist() == [8, 8]
    assert found[["p", "p_holm", "low", "high"]].isna().all(axis=None)
    assert deviations(*tables({"nesterov": {8: [11, 22, 33]}}), STUDY).empty


def test_diverged_runs_are_counted():
    errors = {"plain": {8: [10, 20]}, "nesterov": {8: [90, 22]}}
    found = deviations(*tables(errors, diverged={("nesterov", 8, 0)}), STUDY)
    assert found["diverged"].tolist() == [1, 1]
    assert found.iloc[0]["differences"] == {0: 80, 1: 2}


def test_the_largest_rise_of_each_baseline_and_depth_comes_first():
    errors = {
        "plain": {8: [10, 10], 20: [10, 10]},
        "nesterov": {8: [11, 11], 20: [9, 9]},
        "channel": {8: [12, 12], 20: [8, 8]},
    }
    rows = largest_first(deviations(*tables(errors), STUDY), "test error")
    assert [(row["depth"], row["network"], row["mean"]) for row in rows] == [
        (8, "channel", 2),
        (8, "nesterov", 1),
        (20, "nesterov", -1),
        (20, "channel", -2),
    ]
    assert not any(math.isfinite(row["p"]) for row in rows)
