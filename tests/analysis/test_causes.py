import math

import pandas as pd
import pytest

from depthbench.analysis.answers import AT_CHANCE, Answer
from depthbench.analysis.causes import EXPLODED, GROWN, causes, symptoms, tally

STEPS = 200
PROBED = (0, 1, 10, 20, 50, 199)
STUDY = {
    "variants": {
        "adam": {"of": "plain", "baseline": "plain"},
        "resnet-zero": {"of": "resnet", "baseline": "resnet"},
        "calm": {"of": "plain"},
    }
}


def run_of(network="plain", depth=56, seed=0, status="done", **settings):
    family = "resnet" if network.startswith("resnet") else "plain"
    run = {"run_id": f"{network}-{depth}-s{seed}", "network": network, "family": family, "depth": depth}
    return run | {"seed": seed, "status": status, "steps": STEPS, "recipe.optimizer": "sgd"} | settings


def layers_of(run, gradients=None, weights=None):
    """Four layers with gradients and weight norms of 1. gradients and weights: {(layer, step): value}."""
    rows = [
        {"run_id": run["run_id"], "network": run["network"], "depth": run["depth"], "seed": run["seed"]}
        | {"step": step, "layer": layer, "stage": "fc" if layer == 4 else "1"}
        | {"grad_norm_preact": (gradients or {}).get((layer, step), 1.0)}
        | {"weight_norm": (weights or {}).get((layer, step), 1.0)}
        for step in PROBED
        for layer in (1, 2, 3, 4)
    ]
    return pd.DataFrame(rows)


def symptoms_of(gradients=None, weights=None, **settings):
    run = run_of(**settings)
    (row,) = symptoms(pd.DataFrame([run]), layers_of(run, gradients, weights)).to_dict("records")
    return row


def test_a_healthy_run_has_no_symptom():
    row = symptoms_of()
    assert (row["explosion"], row["growth"], row["least"]) == (1, 1, 1)
    assert (row["explodes"], row["grows"], row["vanishes"]) == (False, False, False)


def test_a_gradient_explodes_if_the_first_layer_has_far_more_than_the_last_hidden_one():
    row = symptoms_of({(1, 0): 10 * EXPLODED, (3, 0): 5.0})
    assert row["explosion"] == 2 * EXPLODED
    assert row["explodes"]
    assert not symptoms_of({(1, 0): EXPLODED})["explodes"]  # at the bound
    assert not symptoms_of({(4, 0): 1e9})["explodes"]  # the classifier is not a hidden layer
    assert symptoms_of({(1, 0): math.inf})["explodes"]


def test_only_an_early_gradient_explodes_but_weights_may_grow_at_any_step():
    assert symptoms_of({(1, 20): 1e6}, {(2, 20): 3.0})["explodes"]  # the last step of the first tenth
    late = symptoms_of({(1, 50): 1e6}, {(2, 50): 3.0})
    assert (late["explodes"], late["grows"], late["explosion"], late["growth"]) == (False, True, 1, 3)


def test_a_short_run_has_an_early_phase_of_ten_steps():
    assert symptoms_of({(1, 10): 1e6}, steps=30)["explodes"]
    assert not symptoms_of({(1, 20): 1e6}, steps=30)["explodes"]


def test_weights_grow_by_the_factor_of_the_layer_that_grows_most():
    row = symptoms_of(weights={(2, 0): 4.0, (2, 1): 20.0, (3, 10): 3.0})
    assert (row["growth"], row["grows"]) == (5.0, True)
    assert not symptoms_of(weights={(2, 1): GROWN})["grows"]
    assert not symptoms_of(weights={(4, 1): 1e6})["grows"]
    assert symptoms_of(weights={(2, 0): 0.0, (2, 1): 9.0})["growth"] == 1  # from zero there is no factor


def test_a_gradient_vanishes_at_any_probed_step():
    row = symptoms_of({(1, 199): 0.5e-2})
    assert (row["least"], row["vanishes"], row["explodes"]) == (0.5e-2, True, False)
    assert not symptoms_of({(1, 199): 1e-2})["vanishes"]
    assert symptoms_of({(1, 50): 0.0})["vanishes"]
    dead = symptoms_of({(layer, 0): 0.0 for layer in (1, 2, 3)})  # nothing to compare it with
    assert (dead["least"], dead["vanishes"]) == (1, False)


def test_what_was_not_probed_is_unknown():
    run = run_of()
    layers = layers_of(run).drop(columns=["grad_norm_preact"])
    (row,) = symptoms(pd.DataFrame([run]), layers).to_dict("records")
    assert math.isnan(row["explosion"])
    assert row["explodes"] is row["vanishes"] is None
    assert row["grows"] is False


def table_of(answers, networks=("plain", "adam", "resnet", "resnet-zero", "calm"), **gradients):
    """Return the interventions of three seeds at depths 20 and 56, with deep errors of 50, 51 and 52.

    gradients: network -> that of the first layer at step 0, of each seed."""
    runs = [run_of(name, depth, seed) for name in networks for depth in (20, 56) for seed in (0, 1, 2)]
    for run in runs:
        run["recipe.optimizer"] = "adam" if run["network"] == "adam" else "sgd"
        run["options.learned_scale"] = "scalar" if run["network"] == "resnet-zero" else None
    layers = [
        layers_of(
            run, {(1, 0): gradients[run["network"]][run["seed"]]} if run["network"] in gradients else {}
        )
        for run in runs
    ]
    errors = pd.DataFrame(runs).assign(
        error=[run["seed"] + (50 if run["depth"] == 56 else 1) for run in runs]
    )
    found = causes(pd.DataFrame(runs), pd.concat(layers), errors, answers=answers, study=STUDY)
    return found.set_index("network")


def answer_of(network, verdict="present", **more):
    return Answer(network, verdict, shallow=20, deep=56, n=3, effect=49.0, p=0.01, **more)


ANSWERS = [answer_of("plain"), answer_of("adam"), answer_of("resnet", "absent"), answer_of("resnet-zero")]


def test_each_baseline_comes_before_its_variants_and_other_networks_are_left_out():
    table = table_of([*ANSWERS, answer_of("calm"), answer_of("plain", residual="resnet")])
    assert list(table.index) == ["plain", "adam", "resnet", "resnet-zero"]
    assert list(table["baseline"]) == ["", "plain", "", "resnet"]
    assert list(table["residual"]) == [False, False, True, True]


def test_a_row_has_the_errors_the_verdict_and_the_twin_of_the_same_recipe():
    table = table_of(ANSWERS)
    plain = table.loc["plain"]
    assert (plain["shallow"], plain["deep"], plain["n"], plain["verdict"]) == (20, 56, 3, "present")
    assert (plain["error_shallow"], plain["error_deep"], plain["effect"], plain["p"]) == (2, 51, 49, 0.01)
    assert (plain["twin"], plain["error_twin"]) == ("resnet", 51)
    assert (table.loc["adam", "twin"], math.isnan(table.loc["adam", "error_twin"])) == ("", True)


def test_symptoms_are_those_of_the_deeper_depth_over_the_seeds():
    table = table_of(ANSWERS, plain=(1000, 1000, 10), adam=(200, 400, 800))
    assert table.loc["plain", "explodes"] == pytest.approx(2 / 3)
    assert table.loc["plain", "explosion"] == pytest.approx(1e7 ** (1 / 3))
    assert tuple(table.loc["plain", ["explosion_low", "explosion_high"]]) == (10, 1000)
    assert (table.loc["adam", "explodes"], table.loc["adam", "explosion"]) == (1, pytest.approx(400))
    assert (table.loc["resnet", "explodes"], table.loc["resnet", "grows"]) == (0, 0)


def test_a_network_without_a_verdict_is_left_out_and_one_at_chance_stays():
    table = table_of([Answer("plain", AT_CHANCE), answer_of("resnet")])
    assert list(table.index) == ["plain", "resnet"]
    assert tuple(table.loc["plain", ["shallow", "deep", "n", "verdict"]]) == (20, 56, 3, AT_CHANCE)


def test_the_tally_counts_plain_networks_with_and_without_each_symptom():
    rows = [  # network, residual, explodes, grows, vanishes, any, verdict
        ("a", False, 1, 1, 0, 1, "present"),
        ("b", False, 1, 0, 0, 1, "absent"),
        ("c", False, 0, 0, 0, 0, "present"),
        ("d", False, 0.5, 0, 0, 0.5, "present"),
        ("e", False, 1, 1, 1, 1, AT_CHANCE),
        ("f", True, 0, 0, 0, 0, "present"),
        ("g", False, 0, 0, 0, 0, "inconclusive"),
        ("h", None, 0, 0, 0, 0, "present"),
    ]
    columns = ["network", "residual", "explodes", "grows", "vanishes", "any", "verdict"]
    counted = tally(pd.DataFrame(rows, columns=columns)).set_index(["symptom", "has"])
    counts = {key: tuple(counted.loc[key, ["total", "present", "absent"]]) for key in counted.index}
    assert counts == {
        ("explodes", True): (2, 1, 1),
        ("explodes", False): (2, 1, 0),
        ("grows", True): (1, 1, 0),
        ("grows", False): (4, 2, 1),
        ("vanishes", True): (0, 0, 0),
        ("vanishes", False): (5, 3, 1),
        ("any", True): (2, 1, 1),
        ("any", False): (2, 1, 0),
    }
    assert counted.loc[("explodes", True), "names"] == ("b",)  # has it and does not degrade
    assert counted.loc[("explodes", False), "names"] == ("c",)  # degrades without it


def test_the_tally_knows_nothing_about_a_symptom_that_was_not_probed():
    table = pd.DataFrame(
        [("a", False, 1.0, float("nan"), 0.0, 1.0, "present")],
        columns=["network", "residual", "explodes", "grows", "vanishes", "any", "verdict"],
    )
    totals = tally(table).groupby("symptom")["total"].sum()
    assert totals.to_dict() == {"explodes": 1, "grows": 0, "vanishes": 1, "any": 1}


@pytest.mark.parametrize(
    ("ratios", "weights", "expected"),
    [((200.0, 1.0), False, True), ((1.0, 1.0), False, None), ((1.0, 1.0), True, False)],
)
def test_any_symptom_is_known_if_one_is_certain_or_all_are_probed(ratios, weights, expected):
    layers = pd.DataFrame(
        [
            {
                "run_id": "a",
                "network": "plain",
                "depth": 8,
                "seed": 0,
                "step": 0,
                "layer": layer,
                "stage": "1",
            }
            | {"grad_norm_preact": ratio}
            | ({"weight_norm": 1.0} if weights else {})
            for layer, ratio in enumerate(ratios, 1)
        ]
    )
    runs = pd.DataFrame([{"run_id": "a", "network": "plain", "depth": 8, "seed": 0, "steps": 100}])
    (row,) = symptoms(runs, layers).to_dict("records")
    assert row["any"] is expected
