import numpy as np
import pandas as pd
import pytest

from depthbench.analysis.layers import (
    KINDS,
    START,
    by_layer,
    chosen_steps,
    fewer_seeds,
    last_step,
    sorted_layers,
    summarise_responses,
    thinned,
    was_not_measured,
    with_zeros_by_design,
    zero_classifiers,
    zeros_by_design,
)


def probed(*seeds, step=0, depth=20, network="plain"):
    """Return the layers of one step. Each seed is a list of values, from the input to the output."""
    rows = [
        {
            "run_id": f"r{seed}",
            "network": network,
            "depth": depth,
            "step": step,
            "layer": layer,
            "probe": value,
        }
        for seed, values in enumerate(seeds)
        for layer, value in enumerate(values, start=1)
    ]
    return pd.DataFrame(rows)


def test_mean_over_seeds_is_geometric():
    row = by_layer(probed([1.0], [100.0]), "probe").iloc[0]
    assert row["mean"] == pytest.approx(10)
    assert (row["low"], row["high"], row["n"]) == (pytest.approx(1), pytest.approx(100), 2)


def test_position_runs_from_input_to_output():
    table = by_layer(probed([1.0, 1.0, 1.0]), "probe")
    assert table["position"].tolist() == [0, 0.5, 1]
    assert by_layer(probed([1.0]), "probe")["position"].tolist() == [0]


def test_a_zero_makes_the_geometric_mean_zero_and_is_counted():
    row = by_layer(probed([0.0], [4.0]), "probe").iloc[0]
    assert (row["mean"], *row[KINDS], row["n"]) == (0, 1, 0, 0, 0, 0, 2)
    assert (row["low"], row["high"]) == (pytest.approx(4), pytest.approx(4))


@pytest.mark.parametrize(
    ("value", "kind"), [(np.inf, "infinite"), (-np.inf, "minus_infinite"), (np.nan, "nans")]
)
@pytest.mark.parametrize("is_log", [True, False])
def test_a_lost_value_leaves_no_mean_and_is_counted(value, kind, is_log):
    row = by_layer(probed([value], [4.0]), "probe", is_log=is_log).iloc[0]
    assert np.isnan(row["mean"])
    assert row[KINDS].to_dict() == dict.fromkeys(KINDS, 0) | {kind: 1}
    assert (row["low"], row["high"], row["n"]) == (pytest.approx(4), pytest.approx(4), 2)


def test_what_was_not_measured_is_neither_lost_nor_part_of_the_mean():
    frame = probed([np.nan, np.nan, 2.0], [4.0, np.nan, 8.0])
    frame["not_measured"] = ["other,probe", "probe", "other", "", np.nan, np.nan]
    table = by_layer(frame, "probe")
    assert table["mean"].tolist() == pytest.approx([4, np.nan, 4], nan_ok=True)
    assert table["unmeasured"].tolist() == [1, 1, 0]
    assert table["nans"].tolist() == [0, 1, 0]
    assert not was_not_measured(frame.drop(columns="not_measured"), "probe").any()


def test_an_arithmetic_mean_takes_negative_values_and_zeros_as_they_are():
    row = by_layer(probed([-1.0], [0.0], [4.0]), "probe", is_log=False).iloc[0]
    assert (row["mean"], row["low"], row["high"]) == (1, -1, 4)
    assert not row[KINDS].any()


def test_depths_networks_and_steps_are_kept_apart():
    frame = pd.concat([probed([1.0]), probed([2.0], step=5), probed([3.0], depth=56, network="resnet")])
    assert by_layer(frame, "probe")["mean"].round(9).tolist() == [1, 2, 3]


def test_many_layers_are_merged_into_means_of_neighbours():
    """Ten layers that alternate, at most five rows: pairs, whose geometric mean is 10."""
    table = by_layer(probed([1.0, 100.0] * 5), "probe")
    assert thinned(table, 10).equals(table)
    thin = thinned(table, 5)
    assert thin["mean"].tolist() == pytest.approx([10] * 5)
    assert thin["layer"].tolist() == [1.5, 3.5, 5.5, 7.5, 9.5]
    assert list(thin.columns) == list(table.columns)
    (zero, *others) = thinned(by_layer(probed([0.0, 1.0] + [1.0] * 8), "probe"), 5).itertuples()
    assert (zero.mean, zero.zeros) == (0, 1)
    assert {row.mean for row in others} == {1}


def test_responses_are_of_the_median_layer_at_the_last_step():
    seeds = [probed([1.0, 2.0, 9.0, 50.0], [3.0, 4.0, 5.0, 50.0], step=step) for step in (0, 7)]
    seeds[0]["probe"] *= 1000
    frame = pd.concat(seeds).rename(columns={"probe": "response_std"})
    frame["stage"] = frame["layer"].map({1: "conv1", 2: "1", 3: "1", 4: "fc"})
    (row,) = summarise_responses(frame).to_dict("records")
    assert (row["n"], row["mean"], row["min"], row["max"]) == (2, 3, 2, 4)
    assert (row["least"], row["greatest"]) == (1, 9)  # without the classifier's 50
    assert summarise_responses(frame.drop(columns="response_std")).empty


def test_chosen_steps_include_the_first_and_the_last():
    steps = [0, 1, 2, 5, 10, 20, 50, 99]
    frame = pd.concat([probed([1.0], step=step) for step in steps])
    assert chosen_steps(frame, 4) == [0, 2, 20, 99]
    assert chosen_steps(frame, 2) == [0, 99]
    assert chosen_steps(probed([1.0], step=7), 4) == [7]


def test_zeros_below_a_classifier_that_begins_at_zero_are_by_design():
    runs = pd.DataFrame({"network": ["mine", "plain"], "family": ["fixup", "plain"], "depth": 20})
    assert zero_classifiers(runs) == {"mine"}
    start = probed([0.0, 0.0, 0.0, 1.0])
    assert zeros_by_design(start, "probe").empty
    assert zeros_by_design(start, "probe", {"plain"})["layer"].tolist() == [1, 2, 3]
    never = pd.concat([start, probed([0.0, 1.0, 1.0, 1.0], step=START + 1)])
    assert zeros_by_design(never, "probe", {"plain"})["layer"].tolist() == [2, 3]


def test_the_last_step_is_taken_for_each_depth():
    frame = pd.concat([probed([1.0]), probed([2.0], step=9), probed([3.0], step=4, depth=56)])
    assert last_step(frame)["probe"].tolist() == [2, 3]


def test_sorted_layers_are_ranked_within_each_run():
    table = sorted_layers(probed([1.0, 3.0, 2.0], [6.0, 5.0, np.nan]), "probe")
    assert table["layer"].tolist() == [3, 1, 2, 1, 2, 3]


def test_fewer_seeds_lists_depths_that_lack_probed_runs():
    table = by_layer(
        pd.concat([probed([1.0], [1.0]), probed([1.0], step=5), probed([1.0], depth=56)]), "probe"
    )
    runs = pd.DataFrame({"network": "plain", "depth": [20, 20, 56]})
    assert fewer_seeds(table, runs).to_numpy().tolist() == [["plain", 20, 1, 2]]


@pytest.mark.parametrize(
    ("start", "later", "expected"),
    [
        (([1.0, 0.0, 2.0], [1.0, 0.0, 2.0]), ([1.0, 0.1, 2.0], [1.0, 0.1, 2.0]), [2]),
        (([1.0, 0.0, 2.0], [1.0, 0.0, 2.0]), None, [2]),
        (([1.0, 0.0, 2.0], [1.0, 0.3, 2.0]), ([1.0, 0.1, 2.0], [1.0, 0.1, 2.0]), []),  # in one seed alone
        (([1.0, 0.0, 2.0], [1.0, 0.0, 2.0]), ([1.0, 0.0, 2.0], [1.0, 0.0, 2.0]), []),  # a dead branch
        (([1.0, 0.0, 2.0], [1.0, np.nan, 2.0]), ([1.0, 0.1, 2.0], [1.0, 0.1, 2.0]), [2]),
        (([0.0, 0.0, 2.0], [0.0, 0.0, 2.0]), ([1.0, 0.1, 2.0], [1.0, 0.1, 2.0]), []),  # vanished
    ],
)
def test_a_zero_is_by_design_if_the_gradient_passes_around_it_and_arrives_later(start, later, expected):
    frames = [probed(*start)] + ([probed(*later, step=START + 1)] if later else [])
    table = zeros_by_design(pd.concat(frames), "probe")
    assert table["layer"].tolist() == expected
    assert table["by_design"].all()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({0: 0.0, 1: 0.0, 2: 0.1}, [0, 1]),  # the first layer of a branch of fixup
        ({0: 0.0, 1: 0.0}, [0, 1]),  # too early to tell
        ({0: 0.0, 1: 0.0, START + 1: 0.0}, []),
        ({0: 0.0, START + 1: 0.0, START + 2: 0.1}, []),
        ({0: 0.0, 1: 0.1, 2: 0.0, 3: 0.1}, [0]),
        ({0: 0.1, 1: 0.0, 2: 0.1}, []),
        ({1: 0.0, 2: 0.1}, []),
    ],
)
def test_zeros_by_design_end_within_the_first_steps(values, expected):
    frame = pd.concat([probed([1.0, value, 2.0], step=step) for step, value in values.items()])
    zeros = zeros_by_design(frame, "probe")
    assert zeros[["layer", "step"]].to_numpy().tolist() == [[2, step] for step in expected]


def test_merged_layers_are_zero_by_design_if_all_zeros_among_them_are():
    layers = pd.concat([probed([0.0, 0.0, 1.0, 0.0, 1.0, 1.0]), probed([1.0] * 6, step=1)])
    runs = pd.DataFrame({"run_id": ["r0"], "network": ["plain"], "family": ["plain"], "depth": 20})
    table = with_zeros_by_design(by_layer(layers, "probe"), layers, "probe", runs)
    assert table["by_design"].tolist() == [False, False, False, True, False, False] + [False] * 6
    merged = thinned(table[table["step"] == 0], 3)
    assert merged["by_design"].tolist() == [False, True, False]


def run_of(seed, **options):
    values = {"family": "resnet", "options.survival": 0.5} | options
    return {"run_id": f"r{seed}", "network": "resnet", "depth": 20, **values}


@pytest.mark.parametrize(
    ("values", "options", "expected"),
    [
        (([1.0, 0.0, 2.0], [1.0, 4.0, 2.0]), {}, (4, 0, False)),  # the seed that kept it
        (([1.0, 0.0, 2.0], [1.0, 4.0, 2.0], [1.0, 9.0, 2.0]), {}, (6, 0, False)),
        (([1.0, 0.0, 2.0], [1.0, 0.0, 2.0]), {}, (0, 2, True)),
        (([1.0, 0.0, 2.0], [1.0, np.nan, 2.0]), {}, (np.nan, 0, False)),
        (([1.0, 0.0, 2.0], [0.0, 0.0, 2.0]), {}, (0, 1, False)),  # nothing passes around it in one seed
        (([0.0, 0.0, 2.0], [1.0, 4.0, 2.0]), {"family": "fractalnet"}, (4, 0, False)),
        (([1.0, 0.0, 2.0], [1.0, 4.0, 2.0]), {"options.survival": 1.0}, (0, 1, False)),
        (([1.0, 0.0, 2.0], [1.0, 4.0, 2.0]), {"options.survival": np.nan}, (0, 1, False)),
        (([1.0, 0.0, 2.0], [1.0, 4.0, 2.0]), {"family": "plain"}, (0, 1, False)),  # without branches
        (([1.0, 0.0, 2.0], [1.0, 4.0, 2.0]), {"family": "a plug-in"}, (0, 1, False)),
    ],
)
def test_seeds_that_dropped_a_layer_are_left_out_of_its_mean(values, options, expected):
    layers = pd.concat([probed(*values, step=7, network="resnet"), probed([0.0, 0.0, 1.0], step=7)])
    layers.loc[layers["network"] == "plain", "run_id"] = "other"
    runs = pd.DataFrame([run_of(seed, **options) for seed in range(len(values))])
    runs = pd.concat([runs, pd.DataFrame([run_of(0, run_id="other", network="plain", family="plain")])])
    layers.index = np.zeros(len(layers), int)  # as after pd.concat
    before = by_layer(layers, "probe")
    table = with_zeros_by_design(before, layers, "probe", runs)
    row = table[(table["network"] == "resnet") & (table["layer"] == 2)].iloc[0]
    found = row["mean"], row["zeros"], row["by_design"]
    assert found == pytest.approx(expected, nan_ok=True)
    assert row["n"] == len(values)
    others = table["layer"] != 2 if "family" not in options else table["network"] == "plain"
    pd.testing.assert_frame_equal(table.loc[others, before.columns], before[others])


def test_tables_of_some_steps_and_in_any_order_are_marked_alike():
    layers = pd.concat([probed([1.0, 0.0, 2.0], [1.0, 4.0, 2.0], step=step) for step in (1, 2)])
    runs = pd.DataFrame([run_of(seed, network="plain") for seed in range(2)])
    table = by_layer(layers, "probe").iloc[::-1].query("step == 2")
    marked = with_zeros_by_design(table, layers, "probe", runs)
    assert marked["mean"].tolist() == pytest.approx([2, 4, 1])


def test_layers_that_all_seeds_dropped_are_left_out_of_merged_means():
    layers = probed([1.0, 0.0, 0.0, 0.0, 4.0, 9.0])
    runs = pd.DataFrame([run_of(0, network="plain")])
    table = with_zeros_by_design(by_layer(layers, "probe"), layers, "probe", runs)
    assert table["dropped"].tolist() == [False, True, True, True, False, False]
    merged = thinned(table, 3)
    assert merged["mean"].tolist() == pytest.approx([1, 0, 6])
    assert merged["by_design"].tolist() == [False, True, False]
    assert merged["layer"].tolist() == [1.5, 3.5, 5.5]  # as at other steps
