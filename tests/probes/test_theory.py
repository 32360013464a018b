"""Gradients at initialisation have the rates that theory predicts.

Rates are those of squared norms from layer to layer towards the input, over random images and the gradient of
their cross entropy."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from depthbench.analysis.theory import COLUMN, batch_norm_rate, measured_rates, predict
from depthbench.networks import NETWORKS
from depthbench.networks.options import NetworkOptions
from depthbench.probes import PROBES
from depthbench.probes.recorder import Recorder

PROBED = {name: PROBES[name].load() for name in ("grad_norm_preact", "grad_norm_weight", "response_std")}
IMAGES = (1, 8, 8)


def at_initialisation(network, depth, batch=64, seeds=3, *, images=IMAGES, **options):
    """Return Results.runs and Results.layers of step 0, like those of a study."""
    family, runs, frames = NETWORKS[network], [], []
    settings = NetworkOptions(**options).model_dump()
    for seed in range(seeds):
        torch.manual_seed(seed)
        built = family(depth=depth, in_channels=family.in_channels(images), **options)
        recorder = Recorder(built, PROBED)
        with recorder:
            logits = built(torch.randn(batch, *images))
            F.cross_entropy(logits, torch.randint(10, (batch,))).backward()
            values = recorder.values().numpy()
        key = {"run_id": str(seed), "network": network, "depth": depth, "seed": seed}
        stages = [layer.stage for layer in recorder.layers]
        frame = pd.DataFrame(values, columns=list(PROBED)).assign(**key, step=0, stage=stages)
        frames.append(frame.assign(layer=range(1, len(frame) + 1)))
        runs.append(
            key
            | {"family": network, "recipe.batch_size": batch, "data.shape": images}
            | {f"options.{name}": value for name, value in settings.items()}
        )
    return pd.DataFrame(runs), pd.concat(frames, ignore_index=True)


def rate_of(runs, layers, probe=COLUMN, stage="1"):
    """Return the row of `measured_rates` for one stage. `probe` replaces the pre-activation gradient."""
    table = measured_rates(runs, layers.assign(**{COLUMN: layers[probe]}))
    return table.set_index("stage").loc[stage]


def test_he_and_relu_keep_gradients_and_responses():
    measured = at_initialisation("plain_mlp", 50, norm="none", seeds=6)
    row = rate_of(*measured)
    assert row["predicted"] == 1
    assert row["mean"] == pytest.approx(1, rel=0.03)
    assert rate_of(*measured, "response_std")["mean"] == pytest.approx(1, rel=0.03)


def test_xavier_and_relu_halve_them_and_the_weight_gradient_hides_it():
    measured = at_initialisation("plain_mlp", 50, norm="none", init="xavier", seeds=6)
    row = rate_of(*measured)
    assert row["predicted"] == 1 / 2
    assert row["mean"] == pytest.approx(1 / 2, rel=0.03)
    assert rate_of(*measured, "response_std")["mean"] == pytest.approx(2, rel=0.03)  # halved forwards
    assert rate_of(*measured, "grad_norm_weight")["mean"] == pytest.approx(1, rel=0.03)


@pytest.mark.parametrize(
    ("options", "rate"),
    [
        ({"init": "he", "activation": "leaky_relu"}, 1.0001),
        ({"init": "delta_orthogonal"}, 1 / 2),
        ({"init": "delta_orthogonal", "activation": "leaky_relu"}, 0.50005),
        ({"init": "he", "activation": "leaky_relu", "tat_eta": 0.9}, 2),
        ({"init": "delta_orthogonal", "activation": "leaky_relu", "tat_eta": 0.9}, 1),
    ],
)
def test_the_rate_is_the_variance_of_the_weights_times_the_mean_squared_slope(options, rate):
    row = rate_of(*at_initialisation("plain_mlp", 42, norm="none", **options))
    assert row["predicted"] == pytest.approx(rate)
    assert row["mean"] == pytest.approx(rate, rel=0.03)


@pytest.mark.parametrize(
    ("options", "rate"), [({}, 1 / 2), ({"activation": "leaky_relu", "tat_eta": 0.9}, 1)]
)
def test_a_delta_orthogonal_convolution_has_no_leak(options, rate):
    options |= {"norm": "none", "init": "delta_orthogonal", "width": 64}
    measured = at_initialisation("plain", 38, 4, seeds=4, **options)
    for stage in "123":
        row = rate_of(*measured, stage=stage)
        assert row["predicted"] == rate
        assert row["mean"] == pytest.approx(rate, rel=0.05)


def test_orthogonal_weights_and_tanh_never_enlarge_a_gradient_and_come_near_to_keeping_it():
    """Later stages have smaller responses, where the slope of tanh is closer to 1."""
    measured = at_initialisation("plain", 38, 8, norm="none", init="delta_orthogonal", activation="tanh")
    rates = [rate_of(*measured, stage=stage) for stage in "123"]
    assert [(row["kind"], row["predicted"]) for row in rates] == [("slope_limit", 1)] * 3
    assert 0.9 < rates[0]["mean"] < rates[1]["mean"] < rates[2]["mean"] < 1
    for _, stage in measured[1].query("stage in ['1', '2', '3']").groupby(["run_id", "stage"]):
        assert (np.diff(stage[COLUMN]) > 0).all()


def test_vgg_halves_its_maps_by_pooling_down_to_one_pixel():
    """A convolution of one pixel has zeros in place of 8 of 9 inputs."""
    measured = at_initialisation("vgg", 59, 8, norm="none", width=16, seeds=6, images=(1, 9, 9))
    for stage, kept in (("2", 0.762), ("3", 0.444), ("4", 1 / 9), ("5", 1 / 9)):  # maps of 4, 2, 1 and 1
        row = rate_of(*measured, stage=stage)
        assert row["predicted"] == pytest.approx(kept, abs=1e-3)
        assert row["mean"] == pytest.approx(kept, rel=0.05)


def test_zero_padding_leaks_by_the_size_of_the_map():
    measured = at_initialisation("plain", 38, batch=8, norm="none", seeds=8)
    for stage, kept in (("1", 0.921), ("2", 0.762), ("3", 0.444)):  # maps of 8, 4 and 2 pixels a side
        row = rate_of(*measured, stage=stage)
        assert row["predicted"] == pytest.approx(kept, abs=1e-3)
        assert row["mean"] == pytest.approx(kept, rel=0.03)


@pytest.mark.parametrize("batch", [8, 32, 128, 256])
def test_batch_norm_makes_gradients_explode_towards_the_input(batch):
    row = rate_of(*at_initialisation("plain_mlp", 42, batch))
    assert row["predicted"] == batch_norm_rate(batch)
    assert row["mean"] == pytest.approx(batch_norm_rate(batch), rel=0.03)


def test_batch_norm_of_maps_of_one_pixel_is_that_of_a_fully_connected_network():
    row = rate_of(*at_initialisation("plain", 62, 16, seeds=4, width=32, images=(1, 4, 4)), stage="3")
    assert row["predicted"] == batch_norm_rate(16) > math.pi / (math.pi - 1)
    assert row["mean"] == pytest.approx(batch_norm_rate(16), rel=0.05)


@pytest.mark.parametrize(("scale", "rate"), [(1, 2), (0.5, 1.25)])
def test_squared_gradients_grow_by_the_branch_in_each_residual_block_without_norm(scale, rate):
    row = rate_of(*at_initialisation("resnet_mlp", 42, norm="none", branch_scale=scale))
    assert (row["predicted"], row["per"]) == (rate, "block")
    assert row["mean"] == pytest.approx(rate, rel=0.03)


def test_under_xavier_each_layer_of_a_branch_halves_the_squared_norm():
    row = rate_of(*at_initialisation("resnet_mlp", 42, norm="none", init="xavier", seeds=6))
    assert (row["predicted"], row["per"]) == (1.25, "block")
    assert row["mean"] == pytest.approx(1.25, rel=0.03)


def test_branches_of_convolutions_leak_after_the_first_blocks_of_a_stage():
    """The stream begins activated, so its ReLUs pass more than half of the gradient in the first blocks."""
    runs, layers = at_initialisation("wide_resnet", 64, 8, seeds=8, norm="none", widen=2)
    late = layers.groupby(["run_id", "stage"]).tail(12)  # 6 of 10 blocks
    for stage, leak in (("1", 0.921), ("2", 0.762), ("3", 0.444)):
        row = rate_of(runs, late, stage=stage)
        assert row["predicted"] == pytest.approx(1 + leak**2, abs=2e-3)
        assert row["mean"] == pytest.approx(1 + leak**2, rel=0.05)


ZERO_BRANCHES = [
    ("rezero", {}),
    ("rezero", {"norm": "none", "activation": "tanh", "dropout": 0.5, "survival": 0.5}),
    ("skipinit", {}),
    ("fixup", {}),
    ("resnet", {"learned_scale": "scalar"}),
    ("resnet", {"branch_scale": 0.0, "shortcut": "B"}),
    ("resnet_bottleneck", {"learned_scale": "scalar"}),
    ("se_resnet", {"learned_scale": "scalar"}),
    ("wide_resnet", {"learned_scale": "scalar", "widen": 1}),
    ("resnet_mlp", {"learned_scale": "scalar"}),
    ("tutorial_cnn_residual", {"learned_scale": "scalar"}),
]


@pytest.mark.parametrize(("network", "options"), ZERO_BRANCHES)
def test_the_gradient_is_equal_in_front_of_all_blocks_that_begin_as_their_shortcut(network, options):
    """The first block of each stage is left out, because it changes the shape."""
    family, depth = NETWORKS[network], {6: 26, 9: 29, 2: 10}[NETWORKS[network].depths.step]
    depth += family.depths.offset - 2
    torch.manual_seed(0)
    built = family(depth, family.in_channels(IMAGES), width=4, **options)
    torch.nn.init.normal_(built.fc.weight)  # the classifier of fixup begins at 0
    inputs = []

    def keep(block, arguments):
        arguments[0].retain_grad()
        inputs.append(arguments[0])

    for block in built.blocks():
        block.register_forward_pre_hook(keep)
    images = torch.randn(8, *IMAGES, requires_grad=True)
    F.cross_entropy(built(images), torch.arange(8)).backward()
    stages = family.structure.halvings
    norms = torch.stack([x.grad.norm() for x in inputs]).reshape(len(stages), -1)[:, 1:]
    assert (norms > 0).all()
    assert torch.equal(norms, norms[:, :1].expand_as(norms))
    settings = {f"options.{key}": value for key, value in options.items()}
    for stage in stages:
        prediction = predict(settings | {"family": network, "depth": depth}, stage)
        assert (prediction.kind, prediction.predicted, prediction.per) == ("shortcut", 1, "block")


@pytest.mark.parametrize(
    ("depth", "options", "kind"), [(62, {}, "shortcut"), (38, {"norm": "none"}, "residual")]
)
def test_small_scales_of_branches_keep_the_gradient(depth, options, kind):
    """Scales are 1e-6 at depth 62 and 0.1 at depth 38, so rates are at most 1.01."""
    measured = at_initialisation("layerscale", depth, 8, seeds=4, **options)
    for stage in "123":
        row = rate_of(*measured, stage=stage)
        assert row["kind"] == kind
        assert 1 <= row["predicted"] <= 1.01
        assert row["mean"] == pytest.approx(row["predicted"], rel=0.03)


def test_branches_scaled_by_the_root_of_their_number_keep_the_total_growth_near_e():
    blocks = 50
    scale = blocks**-0.5
    measured = at_initialisation("resnet_mlp", 2 * blocks + 2, norm="none", branch_scale=scale, seeds=6)
    total = rate_of(*measured)["mean"] ** blocks
    assert (1 + scale**2) ** blocks == pytest.approx(math.e, rel=0.01)
    assert total == pytest.approx(math.e, rel=0.1)  # 0.2 % in each of the 50 blocks


@pytest.mark.parametrize(("network", "depth"), [("resnet", 56), ("wide_resnet", 58)])
def test_with_batch_norm_the_norm_falls_as_a_power_of_the_depth_in_convolutional_networks_too(network, depth):
    options = {"widen": 1} if network == "wide_resnet" else {}
    runs, layers = at_initialisation(network, depth, 16, seeds=2, images=(1, 16, 16), **options)
    assert predict(runs.iloc[0].to_dict(), "1").kind == "power"
    hidden = layers[(layers["layer"] > 1) & (layers["stage"] != "fc")]
    norms = np.exp(np.log(hidden[COLUMN]).groupby(hidden["layer"]).mean())
    assert -1.15 < np.polyfit(np.log(norms.index), np.log(norms), 1)[0] < -0.85


def test_with_batch_norm_the_norm_falls_as_a_power_of_the_depth_in_residual_networks():
    """The norm falls roughly as 1/l. In the plain twin it falls by a factor from layer to layer."""
    residual, plain = (_hidden(network) for network in ("resnet_mlp", "plain_mlp"))
    power = np.polyfit(np.log(residual.index), np.log(residual), 1)[0]
    assert -1.15 < power < -0.75
    assert residual.iloc[0] / residual.iloc[-1] < 110
    assert plain.iloc[0] / plain.iloc[-1] > 1e8


def _hidden(network, depth=110):
    """Return the norm at each layer except the first and the last, as geometric mean over seeds."""
    layers = at_initialisation(network, depth)[1].query(f"1 < layer < {depth}")
    return np.exp(np.log(layers[COLUMN]).groupby(layers["layer"]).mean())
