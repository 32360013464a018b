import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from depthbench.bench.case import Case
from depthbench.bench.conventional import Conventional
from depthbench.bench.ours import Ours
from depthbench.networks.cost import count_parameters
from depthbench.networks.small_maps import Convolution

pytestmark = pytest.mark.slow  # real processes

TINY = Case(8, True, 16, "fp32")
CPU = torch.device("cpu")


def test_it_trains_the_same_network_as_ours():
    conventional, ours = Conventional(TINY, CPU), Ours(TINY, CPU)
    assert count_parameters(conventional.network) == count_parameters(ours.unprobed.network)
    for parameter, expected in zip(
        conventional.network.parameters(), ours.unprobed.network.parameters(), strict=True
    ):
        assert torch.equal(parameter, expected)
    kinds = {type(module) for module in conventional.network.modules()}
    assert nn.Conv2d in kinds
    assert Convolution not in kinds  # it may be faster
    (timing,) = conventional.measure("steps", 3)
    assert (timing.label, timing.steps) == ("off", 3)
    assert 0 < conventional.loss < math.inf
    assert 0 <= conventional.correct <= 3 * TINY.batch_size


def test_activations_are_not_in_place_and_as_many_as_ours(monkeypatch):
    made = []
    network = Conventional(TINY, CPU).network
    relu = F.relu
    monkeypatch.setattr(F, "relu", lambda x: made.append(x) or relu(x))
    with torch.no_grad():
        network(torch.zeros(2, 1, 8, 8))
    assert len(made) == TINY.depth - 1  # one after each convolution, and none after the last block's
