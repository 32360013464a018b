import pytest
import torch
from torch import nn

from depthbench.networks import NETWORKS
from depthbench.probes.recorder import Recorder
from depthbench.probes.response_std import PROBE


def test_deviation_of_all_numbers_of_a_response():
    assert PROBE.of == "response"
    assert PROBE.measure(torch.tensor([[1.0, 2.0], [3.0, 4.0]])).item() == pytest.approx(1.25**0.5, rel=1e-7)


def responses(network, x):
    recorder = Recorder(network, {"response_std": PROBE})
    with recorder:
        network(x).sum().backward()
        return recorder.values()[:, 0].tolist()


def test_a_response_is_measured_after_the_norm_and_before_the_nonlinearity():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU())
    nn.init.constant_(network[1].weight, 3.0)
    nn.init.constant_(network[1].bias, 5.0)
    assert responses(network, 100 * torch.randn(64, 4)) == pytest.approx([3.0], rel=1e-5)


def test_a_response_is_measured_before_the_addition():
    torch.manual_seed(0)
    network = NETWORKS["resnet"](depth=8, width=4)
    block = network.stages[0][0]
    nn.init.constant_(block.norm2.weight, 0.5)
    layers = [layer.name for layer in network.weighted_layers()]
    by_layer = dict(zip(layers, responses(network, torch.randn(16, 3, 8, 8)), strict=True))
    assert by_layer["stages.0.0.conv2"] == pytest.approx(0.5, rel=1e-3)  # the shortcut alone has more
    assert by_layer["stages.0.0.conv1"] == pytest.approx(1.0, rel=1e-3)


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e12])
@pytest.mark.parametrize("mean", [0.0, 0.9, 1.1, 3.0, -100.0])
def test_a_long_response_is_exact_to_the_last_digit(mean, scale):
    x = mean + torch.randn(32, 16, 32, 32, generator=torch.Generator().manual_seed(0))
    x = (scale * x).contiguous(memory_format=torch.channels_last)
    expected = x.double().std(correction=0).item()
    assert PROBE.measure(x).item() == pytest.approx(expected, rel=torch.finfo(torch.float32).eps)


@pytest.mark.parametrize("constant", [0.0, 0.1, 7.7, -300.0])
def test_a_long_constant_response_has_no_deviation(constant):
    assert PROBE.measure(torch.full((64, 16, 8, 8), constant)).item() == 0.0
