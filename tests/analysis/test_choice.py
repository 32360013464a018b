import numpy as np
import pandas as pd
import pytest

from depthbench.analysis.choice import best, choose, incomparable_costs, runner_up


def runs_of(errors: dict, **columns) -> pd.DataFrame:
    """Return runs with these validation errors, {(network, depth): [a seed, ...]}.

    "x" is a diverged run, at 90 %. A layer costs a thousand parameters and two thousand multiply-adds."""
    rows = []
    for (network, depth), values in errors.items():
        for seed, value in enumerate(values):
            row = {"network": network, "depth": depth, "seed": seed, "status": "done", "val_error": value}
            row |= {"test_error": 50.0, "parameters": 1e3 * depth, "multiply_adds": 2e3 * depth}
            row |= {"seconds": depth + seed, "peak_memory": None, "peak_memory_of": None}
            row |= {"device": "cpu", "commit": "abc", "threads": 1, "num_classes": 10}
            diverged = {"status": "diverged", "val_error": None, "test_error": 90.0, "seconds": 0.1}
            rows.append(row | (diverged if value == "x" else {}))
    return pd.DataFrame(rows).assign(**columns)


def chosen(table, column="chosen"):
    return list(table.loc[table[column], ["network", "depth"]].itertuples(index=False, name=None))


def test_the_shallowest_depth_within_one_standard_error_of_the_best_is_chosen():
    """The best is 56, with 2.0 and a standard error of 0.231 / sqrt(4) = 0.115. 20 is within it, 8 is not."""
    four = {56: [1.8, 2.2, 2.2, 1.8], 20: [2.11] * 4, 8: [2.12] * 4}
    table = choose(runs_of({("resnet", depth): values for depth, values in four.items()}))
    se = np.std(four[56], ddof=1) / 2
    assert table["se"].tolist() == pytest.approx([0, 0, se])
    assert se == pytest.approx(0.11547, abs=1e-5)
    assert chosen(table) == chosen(table, "chosen_of_network") == [("resnet", 20)]
    assert best(table)["depth"] == 56


def test_nothing_is_chosen_if_the_best_is_at_chance():
    errors = {("plain", 8): [89, 88, 89], ("plain", 20): [90, 90, 90], ("resnet", 8): [86, 88, 88]}
    assert not choose(runs_of(errors))[["chosen", "chosen_of_network"]].any(axis=None)
    assert chosen(choose(runs_of(errors | {("resnet", 20): [80, 82, 84]}))) == [("resnet", 20)]


def test_the_fewest_multiply_adds_of_all_networks_are_chosen():
    errors = {
        ("plain", 8): [3.0, 3.1, 3.2],
        ("plain", 20): [9, 9, 9],
        ("resnet", 20): [2.94, 3.06, 3.18],
        ("wide", 4): [3, 3, 3],
    }
    runs = runs_of(errors)
    runs.loc[runs["network"] == "wide", "multiply_adds"] = 1e9
    table = choose(runs)
    assert best(table)["network"] == "wide"
    assert chosen(table) == [("wide", 4)]  # its standard error is 0
    table = choose(
        runs.assign(val_error=runs["val_error"].where(runs["network"] != "wide", [2.9, 3.1, 3.3] * 4))
    )
    assert chosen(table) == [("plain", 8)]
    assert chosen(table, "chosen_of_network") == [("plain", 8), ("resnet", 20), ("wide", 4)]


def test_nothing_is_chosen_by_test_error_or_with_few_seeds():
    table = choose(runs_of({("plain", 8): [3.0, 3.1, 3.2], ("plain", 20): [1, 1.1, 1.2]}, val_error=None))
    assert set(table["error"]) == {"test_error"}
    assert chosen(table) == chosen(table, "chosen_of_network") == []
    table = choose(runs_of({("plain", 8): [3.0], ("plain", 20): [1.0]}))
    assert table["se"].isna().all()
    assert chosen(table) == []
    assert chosen(choose(runs_of({("plain", 8): [3.0, 3.0], ("plain", 20): [1.0, 1.0]}))) == []
    table = choose(runs_of({("plain", 8): [3.0, 3.1, 3.2], ("plain", 20): [1.0, 1.0]}))
    assert chosen(table) == [("plain", 8)]  # two lucky seeds are not the best


def test_a_diverged_run_counts_at_chance_and_not_in_the_costs():
    table = choose(runs_of({("plain", 8): [3.0, 3.2], ("plain", 20): [2.0, 4.0, "x"]}))
    assert table["mean"].tolist() == pytest.approx([3.1, 32.0])
    assert table["seconds"].tolist() == [8.5, 20.5]
    assert table["n"].tolist() == [2, 3]


def test_no_row_is_better_than_one_on_the_front():
    errors = {("a", 1): [5, 5], ("b", 1): [6, 6], ("a", 2): [5, 5], ("a", 3): [4, 4], ("a", 4): [4.5, 4.5]}
    table = choose(runs_of(errors)).set_index(["network", "depth"])
    assert table.index[table["front_multiply_adds"]].tolist() == [("a", 1), ("a", 3)]
    assert not table["front_peak_memory"].any()  # not measured


def test_seeds_that_alone_put_a_row_on_the_front_are_counted():
    """By seed: 5 < 6; 5 = 5, so that the cheaper one alone is optimal; 5 > 4. Seed 3 has only one row."""
    table = choose(runs_of({("a", 1): [6, 5, 5, 7], ("a", 2): [5, 5, 4]}))
    assert table["front_parameters"].tolist() == [True, True]
    assert table["seeds_on_front_parameters"].tolist() == [4, 2]
    assert table["seeds_on_front_peak_memory"].tolist() == [0, 0]  # not measured
    none = choose(runs_of({("a", 1): [6]}, status="interrupted"))
    assert none["seeds_on_front_parameters"].empty


def test_measured_costs_within_the_noise_are_equal():
    runs = runs_of({("a", 1): [5, 5], ("a", 2): [4, 4], ("a", 3): [4, 4]})
    table = choose(runs.assign(peak_memory=runs["depth"].map({1: 1000.0, 2: 1049.0, 3: 1e4})))
    assert table["front_peak_memory"].tolist() == [False, True, False]  # 1 saves too little to be on it
    table = choose(runs.assign(peak_memory=runs["depth"].map({1: 1000.0, 2: 1051.0, 3: 1e4})))
    assert table["front_peak_memory"].tolist() == [True, True, False]
    assert table["front_parameters"].tolist() == [True, True, False]


def test_measured_costs_of_two_devices_are_not_comparable():
    runs = runs_of({("plain", 8): [3.0, 3.2]})
    assert incomparable_costs(runs) == {}
    assert incomparable_costs(runs.assign(device=["cpu", "gpu"])) == {"seconds": ["device"]}
    assert incomparable_costs(
        runs.assign(peak_memory=1.0, peak_memory_of=["device", "process"], threads=[1, 2])
    ) == {
        "seconds": ["threads"],
        "peak_memory": ["threads", "peak_memory_of"],
    }
    assert incomparable_costs(runs.assign(commit=["abc", "def"])) == {"seconds": ["commit"]}


def test_without_a_finished_run_there_is_no_row():
    assert choose(runs_of({("plain", 8): [3.0, 3.2]}, status="interrupted")).empty


def test_a_network_whose_runs_all_diverged_is_never_chosen():
    errors = {("hot", 8): ["x"] * 3, ("resnet", 8): [2.0, 2.1, 2.2], ("resnet", 20): [5.0, 5.0, "x"]}
    table = choose(runs_of(errors))
    assert chosen(table) == chosen(table, "chosen_of_network") == [("resnet", 8)]
    assert table["done"].tolist() == [0, 3, 2]
    assert runner_up(table)["depth"] == 20


def test_the_runner_up_is_the_best_of_the_others_with_enough_seeds():
    errors = {("plain", 8): [3.0, 3.1, 3.2], ("plain", 20): [1.0, 1.0, 1.3], ("resnet", 8): [0.5, 0.5]}
    table = choose(runs_of(errors))
    assert table[["min", "max"]].to_numpy().tolist() == [[3.0, 3.2], [1.0, 1.3], [0.5, 0.5]]
    assert chosen(table) == [("plain", 20)]
    other = runner_up(table)
    assert (other["network"], other["depth"]) == ("plain", 8)
    assert runner_up(table[table["chosen"]]) is None
