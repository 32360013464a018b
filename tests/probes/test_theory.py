"""Gradients at initialisation: the probes measure the rates that theory foresees, on plain fully connected
networks. Rates are of squared norms, per layer, towards the input."""

import math
from statistics import geometric_mean

import pytest
import torch
from torch import nn

from depthbench.networks.parts import initialise
from depthbench.probes import PROBES
from depthbench.probes.recorder import Recorder

WIDTH = 256
PROBED = {name: PROBES[name].load() for name in ("grad_norm_preact", "grad_norm_weight", "response_std")}


def rates(init, *, norm=False, depth=50, batch=64, seeds=6):
    """The rate of each probe over the hidden layers, the mean of some seeds."""
    found = {name: [] for name in PROBED}
    for seed in range(seeds):
        torch.manual_seed(seed)
        modules = []
        for _ in range(depth):
            modules += [nn.Linear(WIDTH, WIDTH, bias=False), *([nn.BatchNorm1d(WIDTH)] * norm), nn.ReLU()]
        network = nn.Sequential(*modules)
        initialise([m for m in network if isinstance(m, nn.Linear)], init)
        recorder = Recorder(network, PROBED)
        with recorder:
            y = network(torch.randn(batch, WIDTH))
            y.backward(torch.randn_like(y))
            values = recorder.values()
        first, last = values[1], values[-2]
        for name, ratio in zip(PROBED, (first / last).tolist(), strict=True):
            found[name].append(ratio ** (2 / (depth - 3)))
    return {name: geometric_mean(ratios) for name, ratios in found.items()}


def test_he_and_relu_keep_gradients_and_responses():
    found = rates("he")
    assert found["grad_norm_preact"] == pytest.approx(1, rel=0.03)
    assert found["response_std"] == pytest.approx(1, rel=0.03)


def test_xavier_and_relu_halve_them_and_the_weight_gradient_hides_it():
    found = rates("xavier")
    assert found["grad_norm_preact"] == pytest.approx(1 / 2, rel=0.03)
    assert found["response_std"] == pytest.approx(2, rel=0.03)  # halved forwards
    assert found["grad_norm_weight"] == pytest.approx(1, rel=0.03)


@pytest.mark.parametrize("batch", [16, 64])
def test_batch_norm_makes_gradients_explode_towards_the_input(batch):
    c = -1 / (batch - 1)  # Yang et al. 2019, arXiv:1902.08129
    slope = (math.pi - math.acos(c)) / math.pi
    j = (math.sqrt(1 - c**2) + (math.pi - math.acos(c)) * c) / math.pi
    theory = ((batch - 1 + slope) / (1 - j) - 1) / (batch - 3)
    found = rates("he", norm=True, depth=40, batch=batch, seeds=3)
    assert found["grad_norm_preact"] == pytest.approx(theory, rel=0.03)
