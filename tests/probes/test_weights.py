import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

from depthbench.probes.recorder import Recorder
from tests.probes.recording import ALL, labelled, recorded


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize(
    "parametrize",
    [
        nn.utils.weight_norm,
        nn.utils.spectral_norm,
        parametrizations.weight_norm,
        parametrizations.spectral_norm,
        parametrizations.orthogonal,
    ],
)
def test_the_effective_weight_and_its_gradient_are_measured(parametrize, times, at_once):
    torch.manual_seed(0)
    layer, x = parametrize(nn.Linear(4, 4)), torch.randn(6, 4)
    network = nn.Sequential(layer)
    before = [buffer.clone() for buffer in layer.buffers()]
    recorder = Recorder(network, ALL, at_once)
    with recorder:
        layer.eval()  # without the iterations of spectral_norm, every pass has the same weight
        y = x
        for _ in range(times):
            y = layer(y)
        y.square().sum().backward()
        values = dict(zip(ALL, recorder.values()[0].tolist(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(layer.buffers(), before, strict=True))
    assert recorder.is_measured.all()
    layer(x)  # computes the weight of the older ones
    effective = layer.weight.detach().clone().requires_grad_()
    z = x
    for _ in range(times):
        z = F.linear(z, effective, layer.bias.detach())
    z.square().sum().backward()
    assert values["weight_norm"] == pytest.approx(effective.detach().double().norm().item(), rel=1e-6)
    assert values["grad_norm_weight"] == pytest.approx(effective.grad.double().norm().item(), rel=1e-5)


def test_probing_does_not_change_a_parametrized_network():
    torch.manual_seed(0)
    probed = nn.Sequential(parametrizations.spectral_norm(nn.Linear(4, 4)), nn.Linear(4, 3))
    alone = copy.deepcopy(probed)
    x, y = labelled()
    recorded(probed, x, y)
    F.cross_entropy(alone(x), y).backward()
    assert all(torch.equal(a, b) for a, b in zip(probed.buffers(), alone.buffers(), strict=True))
    pairs = zip(probed.parameters(), alone.parameters(), strict=True)
    assert all(torch.equal(a.grad, b.grad) for a, b in pairs)
