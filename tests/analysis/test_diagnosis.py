import math

import numpy as np
import pandas as pd
import pytest

from depthbench.analysis.diagnosis import COLUMNS, FINDINGS, diagnose

STEPS = 100
EVALUATED = (20, 40, 60, 80, 100)
PROBED = (0, 1, 10, 50, 99)
HEALTHY = (60, 30, 10, 5, 2)


def run_of(seed=0, network="plain", depth=4, **settings):
    run = {"run_id": f"{network}-{depth}-s{seed}", "network": network, "depth": depth, "seed": seed}
    run |= {"family": "plain", "status": "done", "step": STEPS, "steps": STEPS, "num_classes": 10}
    options = {"norm": "batch", "activation": "relu", "init": "he", "branch_scale": 1.0}
    run |= {f"options.{key}": value for key, value in options.items()}
    return run | {"recipe.precision": "fp32", "recipe.clip_norm": None} | settings


def history_of(run, errors=HEALTHY, on_the_fly=None):
    """An evaluation each 20 steps, and a logged row between each two. on_the_fly: defaults to `errors`."""
    rows = []
    for step, error, during in zip(EVALUATED, errors, on_the_fly or errors, strict=True):
        for logged, shown in ((step - 10, math.nan), (step, error)):
            rows.append({"run_id": run["run_id"], "step": logged, "train_error": during})
            rows[-1]["train_error_eval"] = shown
    return pd.DataFrame(rows).astype(float, errors="ignore")


def layers_of(run, steps=PROBED, **changes):
    """Four layers with gradients of 1. changes: probe -> {(layer, step): value}; step None: every step."""
    names = ["conv1", "a", "b", "fc"]
    rows = [
        {"run_id": run["run_id"], "step": step, "layer": layer, "name": name}
        | {"stage": "fc" if name == "fc" else "1"}
        | dict.fromkeys(("grad_norm_preact", "grad_norm_weight", "weight_norm", "response_std"), 1.0)
        for step in steps
        for layer, name in enumerate(names, 1)
    ]
    table = pd.DataFrame(rows)
    for probe, values in changes.items():
        for (layer, step), value in values.items():
            table.loc[(table["layer"] == layer) & (table["step"].eq(step) | (step is None)), probe] = value
    return table


def findings(run=None, history=None, layers=None):
    """finding -> its row, for one run."""
    run = run or run_of()
    history = history_of(run) if history is None else history
    layers = layers_of(run) if layers is None else layers
    table = diagnose(pd.DataFrame([run]), history, layers)
    assert list(table) == COLUMNS
    assert set(table["finding"]) <= set(FINDINGS)
    return {row["finding"]: row for row in table.to_dict("records")}


def both(values):
    """The same change of both gradients."""
    return {"grad_norm_preact": values, "grad_norm_weight": values}


def test_silent_when_all_is_well():
    assert findings() == {}


def test_silent_about_a_gradient_that_was_not_measured():
    layers = layers_of(run_of(), **both({(2, 50): math.nan})).assign(not_measured="")
    assert "nan_gradient" in findings(layers=layers)
    layers.loc[layers["grad_norm_preact"].isna(), "not_measured"] = "grad_norm_preact,grad_norm_weight"
    assert findings(layers=layers) == {}


@pytest.mark.parametrize("status", ["failed", "interrupted"])
def test_silent_about_errors_of_unfinished_runs(status):
    assert findings(run_of(status=status), history_of(run_of(), [90] * 5)) == {}


def test_silent_about_runs_too_short_to_leave_chance():
    assert findings(run_of(step=2, steps=2), history_of(run_of(), [90] * 5)) == {}


def test_silent_without_any_table():
    empty = pd.DataFrame(columns=["run_id", "step", "train_error", "train_error_eval"])
    assert findings(run_of(status="interrupted", step=0), empty, pd.DataFrame()) == {}


def test_at_chance_with_the_evidence_of_each_seed():
    runs = [run_of(seed) for seed in (0, 1, 2)]
    errors = {0: [90, 90, 90, 90, 88], 1: [90, 90, 89, 90, 86], 2: HEALTHY}
    history = pd.concat([history_of(run, errors[run["seed"]]) for run in runs])
    layers = pd.concat([layers_of(run, grad_norm_preact={(1, 0): 1e-6}) for run in runs])
    (row,) = diagnose(pd.DataFrame(runs), history, layers).to_dict("records")
    assert (row["network"], row["depth"], row["seeds"], row["finding"]) == ("plain", 4, [0, 1], "at_chance")
    assert row["evidence"] == {  # the last quarter: evaluated at 80 and 100, logged at 90 too
        "train_error": (88.0, 89.0),
        "on_the_fly": (pytest.approx((90 + 2 * 86) / 3), pytest.approx((90 + 2 * 88) / 3)),
        "lowest": (86.0, 88.0),
        "chance": (90.0, 90.0),
        "ratio_start": (1e-6, 1e-6),
        "ratio_end": (1.0, 1.0),
    }
    assert row["advice"] == ("residual",)  # it has batch normalisation, relu and He's weights


@pytest.mark.parametrize(
    ("ratio", "settings", "errors", "advice"),
    [
        (1e-6, {"options.norm": "none", "options.init": "xavier"}, 90, ("residual", "normalise", "he_init")),
        (1e-6, {"family": "resnet"}, 90, ("other_init",)),
        (1e-6, {"family": "of a plug-in", "options.norm": "none"}, 90, ("other_init",)),
        (1e6, {}, 90, ("residual", "lower_lr", "warmup")),
        (1, {"family": "resnet"}, 90, ("other_lr", "more_steps")),
        (1, {"family": "resnet"}, 40, ("lower_lr",)),  # it had left chance
    ],
)
def test_advice_follows_the_gradients_and_what_the_network_has(ratio, settings, errors, advice):
    run = run_of(**settings)
    history = history_of(run, [90, errors, 90, 90, 90])
    found = findings(run, history, layers_of(run, grad_norm_preact={(1, 0): ratio}))
    assert found["at_chance"]["advice"] == advice


def test_chance_depends_on_the_number_of_classes():
    run = run_of(num_classes=2)
    assert findings(run, history_of(run, [50, 50, 50, 50, 48]))["at_chance"]["evidence"]["chance"] == (50, 50)
    run = run_of(num_classes=100)
    assert findings(run, history_of(run, [90] * 5)) == {}


@pytest.mark.parametrize(
    ("errors", "late"), [([90, 90, 90, 70, 50], True), ([90, 90, 70, 60, 50], False), ([90] * 4 + [50], True)]
)
def test_late_is_at_chance_at_an_evaluation_after_half_of_the_steps(errors, late):
    found = findings(history=history_of(run_of(), errors))
    assert set(found) == ({"late"} if late else set())


def test_late_says_between_which_evaluations():
    row = findings(history=history_of(run_of(), [90, 90, 90, 60, 50]))["late"]
    assert row["evidence"] == {
        "until": (60.0, 60.0),
        "left": (80.0, 80.0),
        "steps": (100.0, 100.0),
        "train_error": (55.0, 55.0),
    }


def test_a_network_that_learns_in_training_mode_did_not_leave_chance_late():
    history = history_of(run_of(), [90, 90, 90, 10, 5], [60, 40, 20, 10, 5])
    assert findings(history=history) == {}


def test_unsettled_if_the_last_two_evaluations_are_far_above_the_training():
    history = history_of(run_of(), [90, 90, 90, 60, 45], [60, 40, 20, 11, 5])
    row = findings(history=history)["unsettled"]
    assert row["evidence"] == {"train_error": (52.5, 52.5), "on_the_fly": (7.0, 7.0), "gap": (40.0, 40.0)}
    assert row["advice"] == ("larger_batch", "faster_statistics", "more_steps")
    (only,) = findings(history=history_of(run_of(), [90] * 5, [60, 40, 20, 10, 5]))
    assert only == "unsettled"  # not at chance: in training mode it has learned


@pytest.mark.parametrize("errors", [[60, 30, 10, 40, 5], [60, 30, 10, 5, 40]])
def test_one_evaluation_that_is_far_above_is_no_finding(errors):
    assert findings(history=history_of(run_of(), errors, HEALTHY)) == {}


def test_a_jump_that_training_shows_too_is_no_unsettled_statistic():
    """Evaluated in the jump: the rows before are low, those after as high."""
    history = history_of(run_of(), [60, 30, 10, 50, 5], HEALTHY)
    history.loc[history["step"] == 90, "train_error"] = 50.0
    history.loc[history["step"] == 100, "train_error_eval"] = 40.0
    assert findings(history=history) == {}


def test_diverged():
    run = run_of(status="diverged", step=40)
    row = findings(run, history_of(run).query("step <= 40"))["diverged"]
    assert row["evidence"] == {"step": (40.0, 40.0), "steps": (100.0, 100.0)}
    assert row["advice"] == ("lower_lr", "warmup", "clip")


@pytest.mark.parametrize(
    ("value", "finding"),
    [(0.0, "zero_gradient"), (math.inf, "infinite_gradient"), (math.nan, "nan_gradient")],
)
def test_the_first_step_and_the_layer_nearest_to_the_output(value, finding):
    values = {(1, 10): value, (2, 10): value, (1, 50): value, (2, 50): value, (3, 50): value}
    row = findings(layers=layers_of(run_of(), **both(values)))[finding]
    evidence = {key: ends[0] for key, ends in row["evidence"].items()}
    assert evidence == {"step": 10, "layer": 2, "layers": 2, "names": "a"}


def test_seeds_with_the_same_finding_are_one_row():
    runs = [run_of(seed) for seed in (0, 1)]
    layers = [layers_of(run, **both({(1, step): 0.0})) for run, step in zip(runs, (50, 99), strict=True)]
    (row,) = diagnose(pd.DataFrame(runs), pd.concat(map(history_of, runs)), pd.concat(layers)).itertuples()
    assert (row.seeds, row.evidence["step"]) == ([0, 1], (50, 99))


def test_zero_at_the_start_alone_is_by_design():
    for end in (0, 1, 10):
        zero = {(layer, step): 0.0 for layer in (2, 3) for step in PROBED if step <= end}
        (row,) = findings(layers=layers_of(run_of(), **both(zero))).values()
        assert (row["finding"], row["advice"]) == ("zero_by_design", ())
        assert row["evidence"] == {"layers": (2.0, 2.0), "names": ("a", "b")}


def test_zero_that_comes_back_or_stays_is_not_by_design():
    assert "zero_gradient" in findings(layers=layers_of(run_of(), **both({(2, 0): 0.0, (2, 50): 0.0})))
    assert "zero_gradient" in findings(layers=layers_of(run_of(), **both({(2, 1): 0.0})))
    early = {(2, step): 0.0 for step in (0, 1, 10, 50)}
    assert "zero_gradient" in findings(layers=layers_of(run_of(), **both(early)))


def test_zero_in_the_only_probed_step_is_by_design_if_gradients_pass_it():
    only = layers_of(run_of(), steps=(0,), **both({(2, 0): 0.0}))
    assert set(findings(layers=only)) == {"zero_by_design"}  # layer 1, nearer to the input, has a gradient
    vanished = layers_of(run_of(), steps=(0,), **both({(1, 0): 0.0, (2, 0): 0.0}))
    assert set(findings(layers=vanished)) == {"zero_gradient"}
    fixup = run_of(family="fixup")  # whose classifier begins at zero
    assert set(findings(fixup, layers=layers_of(fixup, steps=(0,), **both({(1, 0): 0.0, (2, 0): 0.0})))) == {
        "zero_by_design"
    }


@pytest.mark.parametrize("value", [0.0, math.nan])
def test_layers_that_never_receive_a_gradient(value):
    layers = layers_of(run_of(), **both({(1, None): value, (2, None): value}))
    (row,) = findings(layers=layers).values()
    assert (row["finding"], row["advice"]) == ("no_gradient", ("connect",))
    assert row["evidence"] == {"layers": (2.0, 2.0), "names": ("conv1", "a")}


def test_a_branch_of_scale_zero_has_no_gradient_by_design():
    run = run_of(**{"options.branch_scale": 0.0})
    assert set(findings(run, layers=layers_of(run, **both({(2, None): 0.0})))) == {"zero_by_design"}


@pytest.mark.parametrize("steps", [PROBED, (50,)])
def test_a_branch_that_stochastic_depth_drops_is_no_fault(steps):
    run = run_of(family="resnet", **{"options.survival": 0.5})
    zero = {(2, 50): 0.0, (3, 50): 0.0}
    assert findings(run, layers=layers_of(run, steps=steps, **both(zero))) == {}
    vanished = both({(1, 50): 0.0} | zero)  # nothing passes around the branches
    expected = "zero_gradient" if len(steps) > 1 else "no_gradient"
    assert set(findings(run, layers=layers_of(run, steps=steps, **vanished))) == {expected}
    always = run_of(family="resnet")
    assert findings(always, layers=layers_of(always, **both(zero)))


def test_a_column_that_drop_path_leaves_out_is_no_fault():
    run = run_of(family="fractalnet", depth=20)  # whose default is drop-path
    assert findings(run, layers=layers_of(run, **both({(1, 50): 0.0, (2, 50): 0.0}))) == {}
    run |= {"options.drop_path": 0.0}
    assert findings(run, layers=layers_of(run, **both({(1, 50): 0.0, (2, 50): 0.0})))


def test_a_probe_that_does_not_measure_a_layer_is_no_fault():
    """dL/dz is unknown for a layer whose module is not called; its weight has a gradient."""
    assert findings(layers=layers_of(run_of(), grad_norm_preact={(2, None): math.nan})) == {}


def test_a_layer_that_takes_no_part_in_a_step_is_no_fault():
    skipped = {(2, 50): math.nan}
    assert findings(layers=layers_of(run_of(), **both(skipped), weight_norm=skipped)) == {}


def test_a_measured_gradient_that_is_not_a_number_is_a_fault_although_the_weight_is_not_one_either():
    skipped = {(2, 50): math.nan}
    layers = layers_of(run_of(), **both(skipped), weight_norm=skipped).assign(not_measured="")
    assert "nan_gradient" in findings(layers=layers)
    layers.loc[layers["weight_norm"].isna(), "not_measured"] = "grad_norm_preact,grad_norm_weight"
    assert findings(layers=layers) == {}


def test_dead_inputs_are_named_instead_of_the_zeros_that_follow():
    dead = [(layer, step) for layer in (1, 2, 3) for step in (50, 99)]
    weight = dict.fromkeys([*dead, (4, 50), (4, 99)], 0.0)
    layers = layers_of(run_of(), grad_norm_preact=dict.fromkeys(dead, 0.0), grad_norm_weight=weight)
    (row,) = findings(layers=layers).values()
    assert row["finding"] == "dead_inputs"
    assert row["evidence"] == {"step": (50.0, 50.0), "layer": (4.0, 4.0), "names": ("fc",)}


def test_inputs_that_recover_are_not_dead():
    layers = layers_of(run_of(), grad_norm_weight={(4, 10): 0.0})
    assert set(findings(layers=layers)) == {"zero_gradient"}


def test_a_constant_response_counts_at_the_last_probed_step():
    layers = layers_of(run_of(), response_std={(3, 99): 0.0, (2, 0): 0.0})
    (row,) = findings(layers=layers).values()
    assert row["evidence"] == {"layer": (3.0, 3.0), "layers": (1.0, 1.0), "names": ("b",)}


def test_only_probes_that_were_selected_are_looked_at():
    layers = layers_of(run_of()).drop(columns=["grad_norm_preact", "grad_norm_weight", "response_std"])
    assert findings(layers=layers) == {}
    layers = layers_of(run_of(), grad_norm_weight={(1, 50): np.inf}).drop(columns="grad_norm_preact")
    assert set(findings(layers=layers)) == {"infinite_gradient"}
