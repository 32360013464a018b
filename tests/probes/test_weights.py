import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.grad import conv2d_weight
from torch.nn.utils import parametrizations

from depthbench.networks.layers import ComputedConv2d, current_weight, weighted_layers
from depthbench.probes.recorder import Recorder
from tests.probes.recording import ALL, build, labelled, recorded


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


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("name", ["diracnet", "nf_resnet"])
def test_the_weight_in_use_of_a_layer_that_computes_it_is_measured(name, at_once):
    """Its gradient is the correlation of the input with the gradient of the output."""
    network = build(name)
    ends = {}

    def keep(conv, inputs, z):
        z.retain_grad()
        ends[conv] = inputs[0].detach(), z

    layers = [layer for layer in weighted_layers(network) if isinstance(layer.weighted, ComputedConv2d)]
    assert len(layers) == {"diracnet": 6, "nf_resnet": 7}[name]
    for layer in layers:
        layer.weighted.register_forward_hook(keep)
    recorder = Recorder(network, ALL, at_once)
    with recorder:
        F.cross_entropy(network(torch.randn(4, 3, 8, 8)), torch.arange(4)).backward()
        rows = zip(recorder.rows, recorder.values().tolist(), strict=True)
        values = {row.name: dict(zip(ALL, value, strict=True)) for row, value in rows}
    for layer in layers:
        x, z = ends[layer.weighted]
        weight = layer.weighted.computed()
        gradient = conv2d_weight(x, weight.shape, z.grad, layer.weighted.stride, 1)
        expected = {"weight_norm": weight.norm().item(), "grad_norm_weight": gradient.norm().item()}
        measured = {key: values[layer.name][key] for key in expected}
        assert measured == pytest.approx(expected, rel=1e-5)
        assert torch.equal(current_weight(layer), weight)


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
