"""Gradients at initialisation have the rates that theory predicts.

Rates are those of squared norms from layer to layer towards the input, over random images and the gradient of
their cross entropy."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from depthbench.analysis.theory import COLUMN, batch_norm_rate, measured_rates
from depthbench.networks import NETWORKS
from depthbench.networks.options import NetworkOptions
from depthbench.probes import PROBES
from depthbench.probes.recorder import Recorder

PROBED = {name: PROBES[name].load() for name in ("grad_norm_preact", "grad_norm_weight", "response_std")}
IMAGES = (1, 8, 8)


def at_initialisation(network, depth, batch=64, seeds=3, **options):
    """Return Results.runs and Results.layers of step 0, like those of a study."""
    family, runs, frames = NETWORKS[network], [], []
    settings = NetworkOptions(**options).model_dump()
    for seed in range(seeds):
        torch.manual_seed(seed)
        built = family(depth=depth, in_channels=family.in_channels(IMAGES), **options)
        recorder = Recorder(built, PROBED)
        with recorder:
            logits = built(torch.randn(batch, *IMAGES))
            F.cross_entropy(logits, torch.randint(10, (batch,))).backward()
            values = recorder.values().numpy()
        key = {"run_id": str(seed), "network": network, "depth": depth, "seed": seed}
        stages = [layer.stage for layer in recorder.layers]
        frame = pd.DataFrame(values, columns=list(PROBED)).assign(**key, step=0, stage=stages)
        frames.append(frame.assign(layer=range(1, depth + 1)))
        runs.append(
            key
            | {"family": network, "recipe.batch_size": batch, "data.shape": IMAGES}
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


@pytest.mark.parametrize(("scale", "rate"), [(1, 2), (0.5, 1.25)])
def test_squared_gradients_grow_by_the_branch_in_each_residual_block_without_norm(scale, rate):
    row = rate_of(*at_initialisation("resnet_mlp", 42, norm="none", branch_scale=scale))
    assert (row["predicted"], row["per"]) == (rate, "block")
    assert row["mean"] == pytest.approx(rate, rel=0.03)


def test_under_xavier_each_layer_of_a_branch_halves_the_squared_norm():
    row = rate_of(*at_initialisation("resnet_mlp", 42, norm="none", init="xavier", seeds=6))
    assert (row["predicted"], row["per"]) == (1.25, "block")
    assert row["mean"] == pytest.approx(1.25, rel=0.03)


def test_branches_scaled_by_the_root_of_their_number_keep_the_total_growth_near_e():
    blocks = 50
    scale = blocks**-0.5
    measured = at_initialisation("resnet_mlp", 2 * blocks + 2, norm="none", branch_scale=scale, seeds=6)
    total = rate_of(*measured)["mean"] ** blocks
    assert (1 + scale**2) ** blocks == pytest.approx(math.e, rel=0.01)
    assert total == pytest.approx(math.e, rel=0.1)  # 0.2 % in each of the 50 blocks


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
