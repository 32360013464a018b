import numpy as np
import pandas as pd
import pytest
from scipy import stats

from depthbench.analysis.verdict import (
    _sign_flip,
    budget,
    default_margin,
    degradation,
    holm,
    last_errors,
    paired_t,
    removals,
    trends,
    widest,
)


def errors_of(table, family=None, **settings):
    """Return the frame of `last_errors` for {(network, depth): [error of a seed, ...]}. "x": it diverged."""
    rows = [
        {
            **{
                "network": network,
                "family": (family or {}).get(network, network),
                "depth": depth,
                "seed": seed,
            },
            **{"status": "diverged" if error == "x" else "done", "error": 90.0 if error == "x" else error},
            **settings.get(network, {}),
        }
        for (network, depth), errors in table.items()
        for seed, error in enumerate(errors)
        if error is not None
    ]
    return pd.DataFrame(rows)


def verdict_of(shallow, deep, margin=1.0):
    (row,) = degradation(errors_of({("plain", 20): shallow, ("plain", 56): deep}), margin).itertuples()
    return row


def test_numbers_by_hand():
    row = verdict_of([1.0, 2.0, 3.0], [3.0, 5.0, 7.0])  # D = 2, 3, 4: mean 3, sd 1, t = 3 sqrt(3) = 5.196
    assert row.differences == {0: 2.0, 1: 3.0, 2: 4.0}
    assert (row.network, row.shallow, row.deep, row.n, row.mean) == ("plain", 20, 56, 3, 3.0)
    assert row.p == pytest.approx((1 - 27**0.5 / 29**0.5) / 2)  # t with 2 degrees of freedom
    assert row.upper == pytest.approx(3 + 2.919986 / 3**0.5, abs=1e-5)
    assert row.p_sign_flip == 1 / 8  # of 8 ways to choose signs one is as large
    assert row.verdict == "present"


@pytest.mark.parametrize(
    ("shallow", "deep", "margin", "verdict"),
    [
        ([1, 2, 3], [3, 5, 7], 3.5, "inconclusive"),  # significant, but smaller than the margin
        ([1, 2, 3], [3, 5, 7], 4.8, "absent"),  # the upper bound is below the margin
        ([1, 2, 3], [1.1, 2.0, 2.9], 1.0, "absent"),
        ([1, 20, 3], [0.1, 0.2, 0.3], 1.0, "inconclusive"),  # better on average, not surely
        ([5, 5, 5], [1, 1.1, 0.9], 1.0, "absent"),
        ([1, 9, 2], [8, 2, 9], 1.0, "inconclusive"),
        ([0, 0, 0], [0, 0, 0], 1.0, "absent"),  # no spread at all
        ([0, 0, 0], [5, 5, 5], 1.0, "present"),
        ([1, 2], [30, 31], 1.0, "inconclusive"),  # two seeds prove nothing
        ([1, 2, None], [30, 31, 32], 1.0, "inconclusive"),  # a third at one depth is no third pair
        ([1], [30], 1.0, "inconclusive"),
    ],
)
def test_verdicts(shallow, deep, margin, verdict):
    assert verdict_of(shallow, deep, margin).verdict == verdict


def test_a_diverged_run_counts_at_chance_error_and_is_counted():
    row = verdict_of([1.0, 2.0, 3.0], [60.0, "x", 70.0])
    assert row.differences == {0: 59.0, 1: 88.0, 2: 67.0}
    assert row.diverged == 1
    assert row.verdict == "present"


def test_p_values_are_corrected_over_the_depths_of_a_network():
    table = {
        ("plain", 8): [1, 2, 3, 4],
        ("plain", 20): [2, 3.1, 3.9, 5.2],
        ("plain", 56): [5, 5.5, 7.5, 8],
        ("resnet", 8): [1, 2, 3, 4],
        ("resnet", 20): [1, 2.1, 3, 3.9],
    }
    rows = degradation(errors_of(table), 0.5)
    assert rows[["network", "shallow", "deep"]].to_numpy().tolist() == [
        ["plain", 8, 20],
        ["plain", 8, 56],
        ["plain", 20, 56],
        ["resnet", 8, 20],
    ]
    plain = rows[rows["network"] == "plain"]
    for key in ("p", "p_sign_flip"):
        assert plain[f"{key}_holm"].tolist() == pytest.approx(holm(plain[key].tolist()))
    alone = rows[rows["network"] == "resnet"].iloc[0]
    assert alone["p_holm"] == alone["p"]


@pytest.mark.parametrize(
    ("p", "corrected"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.5, 0.9], [1.0, 1.0]),
        ([0.02, float("nan"), 0.01], [0.02, float("nan"), 0.02]),
        ([], []),
    ],
)
def test_holm_by_hand(p, corrected):
    assert holm(p) == pytest.approx(corrected, nan_ok=True)


def test_a_trend_over_all_depths():
    depths = {("plain", 8 + 6 * k): [k + 0.1, 2 * k, 3 * k + 0.2] for k in range(4)}
    flat = {("resnet", depth): [1.0, 1.1, 0.9] for depth in (8, 14, 20)}
    two = {("preresnet", 8): [1, 2, 3], ("preresnet", 14): [2, 3, 4]}
    rising, level, gap = trends(errors_of(depths | flat | two), 1.0).itertuples()
    assert (rising.network, rising.residual, rising.n, rising.verdict) == ("plain", "", 3, "present")
    assert rising.depths == [8, 14, 20, 26]
    assert rising.rise == pytest.approx(6.0)
    assert rising.p < 0.001
    assert (level.network, level.verdict) == ("resnet", "absent")
    assert (gap.network, gap.residual, gap.depths) == ("plain", "resnet", [8, 14, 20])
    assert gap.differences == pytest.approx({0: 2.0, 1: 4.0, 2: 6.0})
    assert gap.p == pytest.approx(1 / 6**3)  # each of three seeds has the one order of six that rises


def test_twins_whose_gaps_tie_up_to_rounding_show_no_trend():
    rising = [[5.1, 5.1, 5.1], [7.2, 7.3, 7.4], [10.2, 10.3, 10.7]]
    table = {("plain", depth): errors for depth, errors in zip((8, 14, 20), rising, strict=True)}
    table |= {("resnet", depth): [x - 5.1 for x in errors] for (_, depth), errors in table.items()}
    gap = trends(errors_of(table), 1.0).iloc[-1]
    assert (gap["residual"], gap["p"], gap["verdict"]) == ("resnet", 1.0, "absent")


def test_no_p_is_given_below_three_seeds_and_its_pair_is_not_corrected_for():
    table = {("plain", 8): [1, 2, 3], ("plain", 14): [2, 4, None], ("plain", 20): [8, 9, 12]}
    rows = degradation(errors_of(table), 1.0).set_index(["shallow", "deep"])
    assert rows.loc[(8, 14), ["p", "p_holm", "p_sign_flip", "p_sign_flip_holm"]].isna().all()
    assert rows.loc[(8, 20), "p_holm"] == rows.loc[(8, 20), "p"]
    (trend,) = trends(errors_of({key: errors[:2] for key, errors in table.items()}), 1.0).itertuples()
    assert np.isnan(trend.p)
    assert trend.verdict == "inconclusive"


def test_the_residual_network_removes_a_degradation_of_the_plain_one():
    table = {
        ("plain", 20): [1, 2, 3],
        ("plain", 56): [20, 22, 25],
        ("resnet", 20): [1, 2, 2],
        ("resnet", 56): [1.5, 2, 2.2],
    }
    (row,) = removals(errors_of(table), 1.0).itertuples()
    assert (row.network, row.residual, row.shallow, row.deep) == ("plain", "resnet", 20, 56)
    assert row.differences == pytest.approx({0: 18.5, 1: 20.0, 2: 21.8})
    assert row.verdict == "present"


def test_variants_are_compared_with_the_twin_that_has_their_settings():
    table = {(name, depth): [depth, depth] for name in ("a", "b", "c") for depth in (8, 14)}
    bare, usual = {"options.norm": "none"}, {"options.norm": "batch"}
    families = {"a": "plain", "b": "resnet", "c": "resnet"}
    rows = removals(errors_of(table, families, a=bare, b=usual, c=bare), 1.0)
    assert rows[["network", "residual"]].to_numpy().tolist() == [["a", "c"]]


@pytest.mark.parametrize(
    ("steps", "counted"),
    [
        (8, [7, 8, 9, 10, 11]),  # five of those after step 6
        (13, [9, 10, 11]),  # fewer are in the last quarter: after 9.75, errors are one behind steps
        (1000, [11]),  # it stopped early: its last one
    ],
)
def test_an_error_is_the_mean_of_the_last_evaluations(steps, counted):
    runs = pd.DataFrame(
        {
            **{
                "run_id": ["a", "b", "c"],
                "network": "plain",
                "family": "plain",
                "depth": 8,
                "seed": [0, 1, 2],
            },
            **{"status": ["done", "diverged", "failed"], "test_error": [5.0, 90.0, None], "steps": steps},
        }
    )
    history = pd.DataFrame({"run_id": "a", "step": range(14), "test_error": [np.nan, *range(12), np.nan]})
    errors = last_errors(runs, history, "test_error").set_index("seed")["error"]
    assert errors.to_dict() == {0: pytest.approx(np.mean(counted)), 1: 90.0}


def test_nothing_to_compare_is_an_empty_table():
    errors = errors_of({("plain", 8): [1, 2, 3]})
    for rows in (degradation(errors, 1.0), trends(errors, 1.0), removals(errors, 1.0)):
        assert rows.empty
        assert "verdict" in rows


def test_the_margin_is_wider_for_a_short_recipe():
    assert default_margin(64_000) == 0.5
    assert default_margin(300) == 1.0


TRIALS = 250


def simulated(draws, margin):
    """Return the verdicts on differences (trials, seeds)."""
    table = {}
    for trial, draw in enumerate(draws):
        table |= {(f"trial {trial}", 20): np.zeros(len(draw)), (f"trial {trial}", 56): draw}
    return degradation(errors_of(table), margin)["verdict"].tolist()


@pytest.mark.parametrize(
    ("n", "effect", "verdict", "rate"),  # as simulated for the procedure, with margin = 2 sd of D
    [
        (3, 0.0, "absent", 0.72),
        (5, 0.0, "absent", 0.98),
        (10, 0.0, "absent", 1.0),
        (3, 4.0, "present", 0.99),
        (5, 4.0, "present", 0.99),
        (10, 4.0, "present", 0.99),
    ],
)
def test_operating_characteristics(n, effect, verdict, rate):
    verdicts = simulated(np.random.default_rng(0).normal(effect, 1.0, (TRIALS, n)), margin=2.0)
    share = verdicts.count(verdict) / TRIALS
    if verdict == "present":
        assert share >= rate - 3 * np.sqrt(rate * (1 - rate) / TRIALS)
    else:
        assert share == pytest.approx(rate, abs=3 * np.sqrt(rate * (1 - rate) / TRIALS) + 0.005)


def test_without_an_effect_the_verdict_is_seldom_present():
    draws = np.random.default_rng(1).normal(0.0, 1.0, (TRIALS, 5))
    verdicts = simulated(draws, margin=0.01)
    assert verdicts.count("present") / TRIALS == pytest.approx(0.05, abs=0.042)  # 3 standard errors


def test_a_seed_with_one_more_depth_does_not_remove_the_others_from_the_trend():
    table = {("plain", 8): [1, 1, 1, 1], ("plain", 14): [5, 6, 5, 6], ("plain", 20): [9, 8, 9, 9]}
    whole = trends(errors_of(table), 1.0).iloc[0]
    grown = trends(errors_of(table | {("plain", 17): [7, None, None, None], ("plain", 26): [90]}), 1.0).iloc[
        0
    ]
    assert (grown["depths"], grown["n"], grown["p"]) == ([8, 14, 20], 4, whole["p"])
    assert grown["differences"] == {0: 8, 1: 7, 2: 8, 3: 8}


def test_the_widest_pair_has_enough_seeds():
    def pair(shallow, deep, n):
        return {"shallow": shallow, "deep": deep, "n": n}

    assert widest([pair(8, 14, 3), pair(8, 20, 2), pair(8, 110, 0)])["deep"] == 14
    assert widest([pair(8, 14, 1), pair(8, 20, 2), pair(8, 110, 0)])["deep"] == 20
    assert widest([pair(8, 110, 0)]) is None


def test_a_run_whose_history_is_lost_keeps_its_last_error():
    runs = errors_of({("plain", 20): [1.0, 2.0]}).rename(columns={"error": "train_error_eval"})
    runs = runs.assign(run_id=["a", "b"], steps=100)
    history = pd.DataFrame({"run_id": ["a"], "step": [100], "train_error_eval": [1.5]})
    assert last_errors(runs, history, "train_error_eval")["error"].tolist() == [1.5, 2.0]


def test_a_trend_counts_the_diverged_runs_of_its_own_depths():
    table = {
        ("plain", 8): [1, 1, 1],
        ("plain", 14): [5, "x", 5],
        ("plain", 17): ["x"],
        ("plain", 20): [9, 9, 9],
    }
    row = trends(errors_of(table), 1.0).iloc[0]
    assert (row["depths"], row["diverged"]) == ([8, 14, 20], 1)


def test_the_budget_is_the_steps_that_the_runs_of_a_verdict_made():
    runs = pd.DataFrame(
        [("done", 300, 300), ("diverged", 40, 300), ("failed", 0, 900), ("interrupted", 5, 900)],
        columns=["status", "step", "steps"],
    )
    assert budget(runs) == (300, 300)
    early = pd.DataFrame([("done", 120, 300)], columns=runs.columns)  # stopped by recipe.patience
    assert budget(pd.concat([runs, early])) == (120, 300)
    assert budget(runs[2:]) is None


@pytest.mark.parametrize("n", [3, 5, 13, 14, 40])
def test_p_values_equal_those_of_scipy(n):
    values = np.random.default_rng(n).normal(0.3, 1, n)
    exact = stats.permutation_test(
        (values,),
        lambda sample, axis: sample.mean(axis),
        permutation_type="samples",
        alternative="greater",
        vectorized=True,
        n_resamples=9999,
        rng=0,
    )
    assert _sign_flip(values) == exact.pvalue
    assert paired_t(values) == pytest.approx(stats.ttest_1samp(values, 0, alternative="greater").pvalue)
