import math

import numpy as np
import pandas as pd
import pytest

from depthbench.analysis.intervals import NO_BOUNDS, mean_interval
from depthbench.analysis.layers import by_layer
from depthbench.analysis.protocol import settled_options
from depthbench.analysis.theory import (
    COLUMN,
    batch_norm_rate,
    depth_scale,
    measured_rates,
    predict,
    theory,
    theory_lines,
)
from depthbench.networks.options import NetworkOptions
from depthbench.store.results import load_results
from depthbench.store.study_store import StudyStore
from tests.report.conftest import store_study, study_of

TANH = {"init": "delta_orthogonal", "activation": "tanh"}
LEAKS = {32: 0.994, 16: 0.977, 8: 0.921}  # map side in pixels -> leak of zero padding
BATCH_NORM = {8: 1.788, 16: 1.590, 32: 1.522, 64: 1.493, 128: 1.480, 256: 1.473}


def a_run(family="plain_mlp", batch=64, shape=(3, 32, 32), depth=8, **options):
    """A row of Results.runs."""
    settings = {f"options.{k}": v for k, v in NetworkOptions(**options).model_dump().items()}
    key = {"run_id": f"{family}-0", "network": family, "depth": depth, "seed": 0}
    return key | settings | {"family": family, "recipe.batch_size": batch, "data.shape": shape}


def stored(run, rate, layers_a_step=1, seeds=(0,), step=0, spread=0.0):
    """Results.runs and .layers in which the squared norm grows by `rate` towards the input."""
    depth, runs, frames = run["depth"], [], []
    stages = ["1"] * (depth - 2) if "mlp" in run["family"] else [*np.repeat([*"123"], (depth - 2) // 3)]
    layer = np.arange(1, depth + 1)
    for seed in seeds:
        key = {"run_id": f"{run['run_id']}-{seed}", "seed": seed}
        own = rate * math.exp(spread * seed)
        norms = own ** ((depth - 1 - layer + (layers_a_step > 1)) // layers_a_step / 2.0)
        runs.append(run | key)
        keys = {"network": run["network"], "depth": depth, "step": step}
        stage = ["input", *stages, "fc"]
        frames.append(pd.DataFrame({"layer": layer, "stage": stage, COLUMN: norms}).assign(**key, **keys))
    return pd.DataFrame(runs), pd.concat(frames, ignore_index=True)


@pytest.mark.parametrize(("batch", "rate"), BATCH_NORM.items())
def test_the_batch_norm_rate_agrees_with_the_paper(batch, rate):
    assert batch_norm_rate(batch) == pytest.approx(rate, abs=6e-4)


def test_batch_norm_rate_of_large_batches_is_its_limit():
    assert batch_norm_rate(10**6) == pytest.approx(math.pi / (math.pi - 1), rel=1e-5)


def test_the_depth_scale_is_where_the_squared_gradient_has_changed_e_fold():
    assert depth_scale(a_run(norm="none", init="xavier")) == pytest.approx(1 / math.log(2))
    assert depth_scale(a_run(norm="none")) == math.inf
    assert depth_scale(a_run("plain", batch=64)) == pytest.approx(1 / math.log(math.pi / (math.pi - 1)))
    leaks = sum(math.log(2 / leak) for leak in LEAKS.values()) / 3
    assert depth_scale(a_run("plain", norm="none", init="xavier")) == pytest.approx(1 / leaks, rel=1e-3)
    scaled = a_run("resnet_mlp", norm="none", branch_scale=0.5)  # 5/4 a block of two layers
    assert depth_scale(scaled) == pytest.approx(2 / math.log(1.25))
    for unlimited in (a_run("rezero"), a_run("fixup")):
        assert depth_scale(unlimited) == math.inf
    for unknown in (a_run("resnet"), a_run(activation="tanh"), a_run("mine")):
        assert math.isnan(depth_scale(unknown))


def test_a_rate_of_at_most_1_gives_no_depth_scale():
    """The squared gradient may then stay as it is or vanish at any rate."""
    run = a_run("plain", norm="none", depth=38, **TANH)
    assert predict(run, "1").kind == "slope_limit"
    assert math.isnan(depth_scale(run))


def test_a_chain_without_norm_keeps_or_halves_the_squared_norm():
    assert predict(a_run(norm="none"), "1").predicted == 1
    assert predict(a_run(norm="none", init="xavier"), "1").predicted == 0.5


@pytest.mark.parametrize(("stage", "size"), [("1", 32), ("2", 16), ("3", 8)])
@pytest.mark.parametrize(("init", "rate"), [("he", 1), ("xavier", 0.5)])
def test_zero_padding_leaks_by_the_size_of_the_stages_maps(stage, size, init, rate):
    prediction = predict(a_run("plain", norm="none", init=init), stage)
    assert prediction.predicted == pytest.approx(rate * LEAKS[size], abs=6e-4)
    assert f"map {size}x{size}" in prediction.assumption


def test_maps_that_are_not_square_leak_on_both_sides():
    prediction = predict(a_run("plain", norm="none", shape=(1, 16, 31)), "2")
    wide, high = (1 + 2 * math.cos(math.pi / 17)) / 3, (1 + 2 * math.cos(math.pi / 9)) / 3
    assert prediction.predicted == pytest.approx(wide * high)
    assert "map 8x16" in prediction.assumption


@pytest.mark.parametrize("shape", [None, math.nan])
def test_no_leak_is_predicted_if_the_image_shape_was_not_recorded(shape):
    assert predict(a_run("plain", norm="none", shape=shape), "1") is None
    assert predict(a_run("plain", shape=shape), "1") is not None  # batch normalisation needs no shape


def test_batch_norm_counts_images_of_an_mlp_and_is_a_reference_for_convolutions():
    exact, reference = predict(a_run(batch=16), "1"), predict(a_run("plain", batch=16), "1")
    assert exact.predicted == batch_norm_rate(16)
    assert exact.formula.endswith("B = 16")
    assert reference.predicted == math.pi / (math.pi - 1)
    assert "upper bound" in reference.assumption
    assert "1902.08129" in exact.source


@pytest.mark.parametrize(
    ("options", "rate"),
    [
        ({}, 2),
        ({"branch_scale": 0.5}, 1.25),
        ({"branch_scale": 0.0}, 1),
        ({"init": "xavier"}, 1.25),
        ({"init": "xavier", "branch_scale": 2.0}, 2),
    ],
)
def test_residual_blocks_without_norm_add_the_branch(options, rate):
    prediction = predict(a_run("resnet_mlp", norm="none", **options), "1")
    assert (prediction.predicted, prediction.per, prediction.layers) == (rate, "block", 2)


def test_only_the_branch_leaks_in_both_of_its_layers():
    prediction = predict(a_run("preresnet", norm="none", shortcut_scale=0.5), "3")
    assert prediction.predicted == pytest.approx(0.25 + 0.921**2, abs=2e-3)


@pytest.mark.parametrize("family", ["resnet", "preresnet", "resnet_mlp", "wide_resnet"])
def test_residual_with_batch_norm_has_a_power_and_no_rate(family):
    prediction = predict(a_run(family), "1")
    assert prediction.kind == "power"
    assert math.isnan(prediction.predicted)
    assert "2002.10444" in prediction.source


@pytest.mark.parametrize(
    ("run", "stage"),
    [
        (a_run("own"), "1"),
        (a_run("plain_imagenet"), "1"),
        (a_run("highway"), "1"),
        (a_run("plain_bottleneck", norm="none"), "1"),
        (a_run("resnet", norm="none"), "1"),  # the activation is after the addition
        (a_run("resnet_mlp", norm="none", init="orthogonal"), "1"),
        (a_run(norm="none", init="normal:0.01"), "1"),
        (a_run(norm="none", init="orthogonal"), "1"),
        (a_run(norm="layer"), "1"),
        (a_run(activation="tanh"), "1"),
        (a_run(dropout=0.1), "1"),
        (a_run(batch=3), "1"),
        (a_run("plain", order="act_only_pre"), "1"),
        (a_run("resnet", gate="exclusive"), "1"),
        (a_run("resnet", order="norm_after_addition"), "1"),
        (a_run("resnet", shortcut="C"), "1"),
        (a_run("resnet", shortcut="B"), "1"),
        (a_run("resnet", activation="tanh"), "1"),
        (a_run("resnet", shortcut_scale=0.5), "1"),
        (a_run("resnet_bottleneck"), "1"),
        (a_run("resnext"), "1"),
        (a_run("se_resnet"), "1"),
        (a_run("diracnet", norm="none"), "1"),
        (a_run("repvgg"), "1"),
        (a_run("preplain", norm="none", activation="tanh"), "1"),
        (a_run("preresnet", norm="none", **TANH), "1"),
        (a_run("plain", init="delta_orthogonal"), "1"),  # with batch normalisation
        (a_run("resnet", survival=0.5), "1"),
        (a_run("plain"), "conv1"),
        (a_run(), "fc"),
        (a_run(), "input"),
    ],
)
def test_nothing_is_predicted_if_the_assumptions_do_not_hold(run, stage):
    assert predict(run, stage) is None


def test_theory_has_a_row_for_each_network_and_stage_with_a_prediction():
    plain, mlp = stored(a_run("plain", depth=20), 1), stored(a_run(depth=10), 1, seeds=(0, 1))
    runs, layers = (pd.concat(both, ignore_index=True) for both in zip(plain, mlp, strict=True))
    table = theory(runs, layers)
    assert table[["network", "stage"]].to_numpy().tolist() == [
        *[["plain", stage] for stage in "123"],
        ["plain_mlp", "1"],
    ]


def test_the_size_of_the_images_comes_from_what_a_run_recorded(tmp_path):
    study = study_of(networks=("plain",), depths=(8,), seeds=(0,), options={"norm": "none"})
    path = store_study(tmp_path / "made-up", study)
    assert theory(*load_results(path)[::2]).empty
    (run,) = StudyStore(path).run_stores()
    run.write(run.read().changed(image_shape=(3, 32, 32)))
    assert theory(*load_results(path)[::2])["predicted"].tolist() == pytest.approx(
        [*LEAKS.values()], abs=6e-4
    )


def test_the_fit_recovers_a_known_rate_and_its_difference():
    table = measured_rates(*stored(a_run(norm="none", depth=12), 1.1, seeds=range(5)))
    assert len(table) == 1
    row = table.iloc[0]
    assert (row["mean"], row["low"], row["high"]) == (pytest.approx(1.1),) * 3
    assert (row["n"], row["predicted"], row["per"]) == (5, 1, "layer")
    assert row["difference"] == pytest.approx(10)


def test_the_interval_is_that_of_the_logarithms():
    runs, layers = stored(a_run(norm="none", depth=12), 1.0, seeds=range(5), spread=0.1)
    row = measured_rates(runs, layers).iloc[0]
    low, high = mean_interval(0.1 * np.arange(5), NO_BOUNDS)
    assert row["mean"] == pytest.approx(math.exp(0.2))
    assert (row["low"], row["high"]) == pytest.approx((math.exp(low), math.exp(high)))
    one = measured_rates(runs[:1], layers[layers["seed"] == 0]).iloc[0]
    assert math.isnan(one["low"])


def test_a_residual_rate_is_per_block():
    row = measured_rates(*stored(a_run("resnet_mlp", norm="none", depth=12), 2, layers_a_step=2)).iloc[0]
    assert row["per"] == "block"
    assert row["mean"] == pytest.approx(2)


def test_a_network_without_a_prediction_has_a_measured_rate():
    row = measured_rates(*stored(a_run(norm="none", activation="sigmoid", depth=12), 0.1)).iloc[0]
    assert row["mean"] == pytest.approx(0.1)
    assert math.isnan(row["predicted"])
    assert math.isnan(row["difference"])


def test_only_initialisation_counts_and_short_stages_and_powers_have_no_rate():
    assert measured_rates(*stored(a_run(norm="none"), 1, step=5)).empty
    assert measured_rates(*stored(a_run(norm="none", depth=4), 1)).empty
    assert measured_rates(*stored(a_run("resnet_mlp"), 1)).empty
    assert measured_rates(*stored(a_run("resnet_mlp", depth_alpha=1.0, base_blocks=3), 1)).empty  # scale 1
    assert len(measured_rates(*stored(a_run("resnet_mlp", depth_alpha=1.0, base_blocks=1, depth=12), 1))) == 1
    runs, layers = stored(a_run(norm="none"), 1)
    assert measured_rates(runs, layers.drop(columns=COLUMN)).empty


@pytest.mark.parametrize("value", [0.0, math.inf, math.nan])
def test_a_run_whose_norm_has_no_logarithm_is_omitted(value):
    runs, layers = stored(a_run(norm="none", depth=12), 0.5, seeds=(0, 1))
    layers.loc[(layers["seed"] == 1) & (layers["layer"] == 4), COLUMN] = value
    row = measured_rates(runs, layers).iloc[0]
    assert (row["n"], row["mean"]) == (1, pytest.approx(0.5))


def test_a_line_starts_at_the_last_layer_of_a_stage_and_follows_the_rate():
    runs, layers = stored(a_run(norm="none", init="xavier", depth=12), 0.8)
    lines = theory_lines(by_layer(layers, COLUMN), runs, layers)
    assert lines["layer"].tolist() == list(range(2, 12))  # the hidden layers
    measured = layers.set_index("layer")[COLUMN]
    values = lines.set_index("layer")["value"]
    assert values[11] == pytest.approx(measured[11])
    assert values[2] == pytest.approx(measured[11] * 0.5 ** (9 / 2))


def test_a_power_is_one_line_through_all_stages():
    runs, layers = stored(a_run("resnet", depth=20), 1)
    lines = theory_lines(by_layer(layers, COLUMN), runs, layers)
    assert set(lines["stage"]) == {"hidden"}
    values = lines.set_index("layer")["value"]
    assert values[2] / values[19] == pytest.approx(19 / 2)


def test_lines_are_those_of_initialisation():
    runs, layers = stored(a_run(norm="none"), 1, step=1)
    assert theory_lines(by_layer(layers, COLUMN), runs, layers).empty


@pytest.mark.parametrize(
    ("depth", "options"),
    [
        (8, {"learned_scale": "scalar", "order": "norm_after_addition"}),
        (8, {"learned_scale": "scalar", "activation": "tanh"}),  # a second tanh changes the stream
        (8, {"learned_scale": "scalar", "gate": "shortcut_only"}),
        (8, {"learned_scale": "scalar", "shortcut_dropout": 0.5}),
        (8, {"learned_scale": "scalar", "shortcut": "C"}),
        (8, {"learned_scale": "scalar", "shortcut_scale": 0.0}),
        (8, {"learned_scale": "channels"}),  # 0.1 of a branch with a norm, which amplifies what is small
        (62, {"learned_scale": "channels"}),  # zeros of the stream become active
        (62, {"learned_scale": "channels", "order": "full_pre", "survival": 0.5}),
    ],
)
def test_no_rate_is_predicted_for_blocks_that_do_not_begin_as_their_shortcut(depth, options):
    assert predict(a_run("resnet", depth=depth, **options), "1") is None


@pytest.mark.parametrize(("shortcut", "rate"), [(1.0, 1), (0.5, 0.25)])
def test_the_rate_of_blocks_that_begin_as_their_shortcut_is_the_square_of_its_scale(shortcut, rate):
    for network, depth in (("rezero", 8), ("layerscale", 62)):
        prediction = predict(a_run(network, depth=depth, shortcut_scale=shortcut), "1")
        assert (prediction.kind, prediction.predicted, prediction.per) == ("shortcut", rate, "block")


def test_small_branches_without_norm_add_the_square_of_their_scale():
    learned = {"norm": "none", "learned_scale": "channels"}
    assert predict(a_run("resnet_mlp", **learned), "1").predicted == pytest.approx(1.01)
    assert predict(a_run("plain_mlp", **learned), "1").predicted == 1  # it has no effect there


@pytest.mark.parametrize(
    ("network", "depth", "sizes"),
    [("vgg", 16, ["15x12", "7x6", "3x3", "1x1", "1x1"]), ("plain", 20, ["15x12", "8x6", "4x3"])],
)
def test_pooling_rounds_the_size_of_a_map_down_and_a_stride_up(network, depth, sizes):
    run = a_run(network, norm="none", depth=depth, shape=(3, 15, 12))
    predictions = [predict(run, str(stage)) for stage in range(1, len(sizes) + 1)]
    assert [prediction.assumption.split("map ")[1] for prediction in predictions] == sizes


def test_batch_norm_of_one_pixel_is_that_of_a_linear_map():
    rates = [predict(a_run("plain", batch=16, shape=(1, 4, 4)), stage).kind for stage in "123"]
    assert rates == ["batch_norm_limit", "batch_norm_limit", "batch_norm"]
    assert predict(a_run("plain", batch=3, shape=(1, 4, 4)), "3") is None


def test_the_stored_default_of_an_option_that_a_family_lacks_has_no_effect():
    """skipinit stores norm = batch, the default of all networks, but has none."""
    assert settled_options(a_run("skipinit", norm="batch"))["norm"] == "none"
