import pytest
import torch
from torch import nn

from depthbench.networks import NETWORKS
from depthbench.networks.cost import count_multiply_adds, count_parameters
from depthbench.networks.shortcuts import ChannelGate


def build(name, **options):
    torch.manual_seed(0)
    return NETWORKS[name](depth=14, width=16, **options)


def test_it_has_the_initial_weights_of_resnet_and_small_gates_besides():
    gated, without = (dict(build(name).named_parameters()) for name in ("se_resnet", "resnet"))
    assert all(torch.equal(gated[key], parameter) for key, parameter in without.items())
    assert all("branch_end.0.gate" in key for key in gated.keys() - without.keys())
    # hidden units: 1, 2 and 4; each map has weights and biases, in two blocks per stage
    gates = sum(2 * (c * h + h + h * c + c) for c, h in ((16, 1), (32, 2), (64, 4)))
    assert count_parameters(build("se_resnet")) == count_parameters(build("resnet")) + gates
    products = 2 * sum(2 * c * h for c, h in ((16, 1), (32, 2), (64, 4)))
    counts = [count_multiply_adds(build(name), (3, 8, 8)) for name in ("se_resnet", "resnet")]
    assert counts[0] == counts[1] + products


@pytest.mark.parametrize("order", ["original", "full_pre", "act_before_addition"])
def test_with_gates_of_1_it_is_resnet(order):
    network, x = build("se_resnet", order=order), torch.randn(4, 3, 8, 8)
    for gate in (module for module in network.modules() if isinstance(module, ChannelGate)):
        nn.init.zeros_(gate.excite.weight)
        nn.init.constant_(gate.excite.bias, 100)
    assert torch.equal(network(x), build("resnet", order=order)(x))


def test_a_gate_is_the_sigmoid_of_two_maps_of_the_means():
    gate, x = ChannelGate(32, 16), torch.randn(3, 32, 5, 5)
    first, second = gate.squeeze, gate.excite
    hidden = torch.relu(x.mean((2, 3)) @ first.weight[..., 0, 0].T + first.bias)
    expected = torch.sigmoid(hidden @ second.weight[..., 0, 0].T + second.bias)
    torch.testing.assert_close(gate(x)[..., 0, 0], expected)
    assert gate(x).shape == (3, 32, 1, 1)
    assert ChannelGate(8, 16).squeeze.out_channels == 1
