import numpy as np
import pandas as pd
import pytest
from scipy import stats

from depthbench.analysis.sweep import Sweep, choose, compare, degradation_at_best, movements, optima, sweeps
from depthbench.analysis.verdict import degradation, paired_t

RATES = [0.01, 0.03, 0.1, 0.3]


def cells(errors, network="plain", family="plain", status="done"):
    """Return the cells of errors {depth: {value: [error of each seed]}}."""
    rows = [
        {
            "network": network,
            "family": family,
            "variant": f"{network}-lr={value}",
            "depth": depth,
            "seed": seed,
            "status": status,
            "value": value,
            "error": error,
        }
        for depth, by_value in errors.items()
        for value, seeds in by_value.items()
        for seed, error in enumerate(seeds)
    ]
    return pd.DataFrame(rows)


def bowl(best, floor, seeds=3, rates=RATES):
    """Return {rate: errors} of a parabola in log rate with its lowest point, `floor`, at the rate `best`."""
    return {rate: [floor + seed + 10 * np.log(rate / best) ** 2 for seed in range(seeds)] for rate in rates}


def test_the_optimum_of_a_parabola_is_found_between_the_values():
    (row,) = optima(Sweep("recipe.lr", cells({20: bowl(0.05, 5)}))).to_dict("records")
    assert row["best"] == 0.03
    assert row["optimum"] == pytest.approx(0.05)
    assert (row["least"], row["greatest"]) == pytest.approx((0.05, 0.05))
    assert row["error"] == pytest.approx(6 + 10 * np.log(0.03 / 0.05) ** 2)
    assert (row["n"], row["edge"], row["diverged"]) == (3, "", {})


def test_an_optimum_at_an_end_of_the_sweep_is_marked_and_not_extrapolated():
    found = optima(Sweep("recipe.lr", cells({8: bowl(0.9, 5), 32: bowl(0.001, 5)})))
    assert list(found["edge"]) == ["highest", "lowest"]
    assert list(found["optimum"]) == pytest.approx([0.3, 0.01])


def test_of_tied_values_the_middle_one_is_chosen():
    table = cells({8: {0.01: [5, 5], 0.03: [0, 0], 0.1: [0, 0], 0.3: [0, 0]}})
    (row,) = optima(Sweep("recipe.lr", table)).to_dict("records")
    assert row["best"] == 0.1
    assert row["optimum"] == pytest.approx((0.03 * 0.1 * 0.3) ** (1 / 3))


def test_the_slope_of_the_optimum_over_depth_is_that_of_the_law_behind_it():
    rates = [0.003 * 2**i for i in range(8)]
    errors = {depth: bowl(1.6 / depth, 5, rates=rates) for depth in (8, 16, 32, 64)}
    sweep = Sweep("recipe.lr", cells(errors))
    (row,) = movements(sweep, optima(sweep)).to_dict("records")
    assert row["slope"] == pytest.approx(-1)
    assert (row["depths"], row["n"], row["is_bounded"]) == ([8, 16, 32, 64], 3, True)
    assert np.isnan(row["low"])  # too few seeds
    five = Sweep("recipe.lr", cells({depth: bowl(1.6 / depth, 5, 5, rates) for depth in (8, 16)}))
    (row,) = movements(five, optima(five)).to_dict("records")
    assert row["low"] <= -1 <= row["high"]


def test_words_have_a_best_value_and_no_slope():
    sweep = Sweep(
        "options.norm", cells({8: {"batch": [1, 2], "none": [3, 1]}, 20: {"batch": [9, 9], "none": [4, 4]}})
    )
    found = optima(sweep)
    assert list(found["best"]) == ["batch", "none"]
    assert list(found["edge"]) == ["", ""]
    assert movements(sweep, found).empty
    (row,) = degradation_at_best(sweep, 1.0).to_dict("records")
    assert (row["best_shallow"], row["best_deep"]) == ("batch", "none")
    assert row["differences"] == {0: 4 - 3, 1: 4 - 2}  # each seed at the best value of the other


def test_degradation_at_one_rate_is_absent_at_the_best_rate_of_each_depth():
    errors = {8: bowl(0.1, 5), 32: bowl(0.01, 5)}
    at_one = cells({depth: {0.1: by_rate[0.1]} for depth, by_rate in errors.items()})
    assert degradation(at_one, 1.0)["verdict"].tolist() == ["present"]
    (row,) = degradation_at_best(Sweep("recipe.lr", cells(errors)), 1.0).to_dict("records")
    assert (row["best_shallow"], row["best_deep"], row["verdict"]) == (0.1, 0.01, "absent")
    assert (row["mean"], row["upper"], row["n"]) == (0, 0, 3)


def test_degradation_is_present_if_every_value_is_worse_than_the_best_value_of_the_shallower_depth():
    errors = {8: bowl(0.1, 5), 32: bowl(0.03, 25), 56: bowl(0.03, 25.5)}
    rows = degradation_at_best(Sweep("recipe.lr", cells(errors)), 1.0)
    verdicts = {(row["shallow"], row["deep"]): row["verdict"] for row in rows.to_dict("records")}
    assert verdicts == {(8, 32): "present", (8, 56): "present", (32, 56): "absent"}  # by 0.5 of a margin of 1
    assert rows["mean"].tolist() == pytest.approx([20, 20.5, 0.5])
    assert (rows["p_holm"] >= rows["p"]).all()


def test_each_seed_is_judged_at_the_value_that_the_other_seeds_choose():
    errors = np.array([[0, 5], [9, 5], [9, 5]])
    assert choose(errors).tolist() == [1, 0, 0]
    deep = np.array([[20, 30], [21, 31], [22, 32]])
    differences, upper, p = compare(errors, deep, choose(errors), choose(deep))
    assert differences.tolist() == [20 - 5, 21 - 9, 22 - 9]
    assert p == pytest.approx(stats.ttest_1samp([15, 12, 13], 0, alternative="greater").pvalue)
    bounds = [
        np.mean(d) + stats.t.ppf(0.95, 2) * np.std(d, ddof=1) / 3**0.5 for d in ([20, 12, 13], [15, 16, 17])
    ]
    assert upper == pytest.approx(max(bounds))


def test_validation_errors_choose_the_value_if_there_are_any():
    judged = cells({8: {0.01: [9, 9, 9], 0.1: [5, 5, 5]}, 20: {0.01: [9, 9, 9], 0.1: [5, 5, 5]}})
    validation = cells({8: {0.01: [1, 1, 1], 0.1: [5, 5, 5]}, 20: {0.01: [9, 9, 9], 0.1: [5, 5, 5]}})
    (row,) = degradation_at_best(Sweep("lr", judged), 1.0, Sweep("lr", validation)).to_dict("records")
    assert (row["best_shallow"], row["best_deep"], row["mean"]) == (0.01, 0.1, -4)


def test_a_single_seed_has_no_verdict():
    errors = {8: {0.1: [5], 0.3: [6]}, 20: {0.1: [50], 0.3: [60]}}
    (row,) = degradation_at_best(Sweep("lr", cells(errors)), 1.0).to_dict("records")
    assert (row["n"], row["differences"], row["verdict"]) == (1, {}, "inconclusive")


def test_values_that_lack_a_seed_are_not_compared():
    table = cells({8: {0.01: [5, 5], 0.1: [4, 4], 0.3: [0]}})
    (row,) = optima(Sweep("recipe.lr", table)).to_dict("records")
    assert (row["best"], row["n"]) == (0.1, 2)


def test_diverged_runs_are_counted_by_value():
    table = pd.concat([cells({8: {0.01: [5, 5]}}), cells({8: {0.3: [90, 90]}}, status="diverged")])
    (row,) = optima(Sweep("recipe.lr", table)).to_dict("records")
    assert row["diverged"] == {0.3: 2}


def test_two_swept_settings_are_two_sweeps():
    names = {f"plain-lr={lr}-norm={norm}": (lr, norm) for lr in (0.01, 0.1) for norm in ("batch", "none")}
    errors = pd.DataFrame(
        [
            {"network": name, "family": "plain", "depth": 8, "seed": 0, "status": "done", "error": 1.0}
            | {"recipe.lr": lr, "options.norm": norm}
            for name, (lr, norm) in names.items()
        ]
    )
    swept = {
        name: {"swept": {"network": "plain", "values": {"recipe.lr": lr, "options.norm": norm}}}
        for name, (lr, norm) in names.items()
    }
    of_lr, of_norm = sweeps(errors, {"variants": swept})
    assert (of_lr.key, sorted(set(of_lr.cells["network"]))) == (
        "recipe.lr",
        ["plain-norm=batch", "plain-norm=none"],
    )
    assert (of_norm.key, sorted(set(of_norm.cells["network"]))) == (
        "options.norm",
        ["plain-lr=0.01", "plain-lr=0.1"],
    )
    assert "recipe.lr" not in of_lr.cells
    assert sweeps(errors, {"variants": {"other": {"of": "plain"}}}) == []


@pytest.mark.parametrize(
    ("spread", "curvature", "most"), [((2, 2), 3, 0.08), ((0.5, 4), 3, 0.08), ((4, 0.5), 0, 0.13)]
)
def test_false_alarms_are_rare_where_nothing_degrades(spread, curvature, most):
    random = np.random.default_rng(0)
    mean = curvature * (np.arange(4) - 2.0) ** 2  # of both depths
    alarms = by_same_errors = 0
    for _ in range(studies := 500):
        shallow, deep = (mean + random.normal(0, scale, (5, 4)) for scale in spread)
        alarms += compare(shallow, deep, choose(shallow), choose(deep))[2] <= 0.05
        best = [table[:, table.mean(axis=0).argmin()] for table in (shallow, deep)]
        by_same_errors += paired_t(best[1] - best[0]) <= 0.05
    assert alarms / studies < most
    if curvature == 0:  # without cross-fitting, the depth that varies most seems best
        assert by_same_errors > 1.2 * alarms


def test_a_rise_of_two_standard_deviations_is_found():
    random = np.random.default_rng(0)
    mean = 3 * (np.arange(4) - 2.0) ** 2
    found = 0
    for _ in range(500):
        shallow, deep = mean + random.normal(0, 2, (5, 4)), mean + 4 + random.normal(0, 2, (5, 4))
        found += compare(shallow, deep, choose(shallow), choose(deep))[2] <= 0.05
    assert found > 0.7 * 500


@pytest.mark.parametrize("values", [(True, False), (False, True)])
def test_a_sweep_over_true_and_false_is_analysed_like_any_other(values):
    """pandas takes a list of them in brackets for a choice of rows."""
    good, bad = values
    at_depth = {good: [1.0, 2.0], bad: [11.0, 14.0]}
    sweep = Sweep("recipe.nesterov", cells({8: at_depth, 20: {good: [4.0, 5.0], bad: [1.0, 1.0]}}))
    found = optima(sweep).set_index("depth")
    assert found["best"].to_dict() == {8: good, 20: bad}
    assert found["error"].to_dict() == {8: 1.5, 20: 1.0}
    assert found["n"].to_dict() == {8: 2, 20: 2}
    (row,) = degradation_at_best(sweep, 1.0).to_dict("records")
    assert (row["best_shallow"], row["best_deep"], row["differences"]) == (good, bad, {0: 0.0, 1: -1.0})
