import pytest
import torch
import torch.nn.functional as F
from torch import nn

from depthbench.networks import NETWORKS
from depthbench.networks.cost import count_multiply_adds, count_parameters
from depthbench.networks.layers import weighted_layers
from depthbench.networks.repvgg import fold
from depthbench.probes import PROBES
from depthbench.probes.recorder import Recorder


def trained_a_little(depth=14, **options):
    """Return a network whose norms have statistics, scales and shifts of their own."""
    torch.manual_seed(0)
    network = NETWORKS["repvgg"](depth, 3, 5, width=4, **options).double()
    for _ in range(3):
        network(torch.randn(16, 3, 8, 8, dtype=torch.float64))
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_()
    return network


@pytest.mark.parametrize("options", [{}, {"activation": "tanh"}])
def test_the_folded_network_returns_the_same_logits_and_is_plain(options):
    network = trained_a_little(**options)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    folded = fold(network)
    x = torch.randn(6, 3, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(folded(x), network.eval()(x), rtol=1e-9, atol=1e-9)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    kinds = {type(m) for m in folded.modules() if not list(m.children())}
    assert not any(issubclass(kind, nn.BatchNorm2d) for kind in kinds)
    assert len(weighted_layers(folded)) == len(weighted_layers(network)) == 14


def test_the_folded_network_costs_as_much_as_the_plain_one_with_biases():
    network = trained_a_little(20)
    plain = NETWORKS["plain"](20, 3, 5, width=4, norm="none")
    folded = fold(network)
    assert count_parameters(folded) == count_parameters(plain)
    assert count_multiply_adds(folded.float(), (3, 8, 8)) == count_multiply_adds(plain, (3, 8, 8))
    assert count_multiply_adds(network.float(), (3, 8, 8)) > count_multiply_adds(plain, (3, 8, 8))


def test_the_identity_branch_is_where_the_shape_stays():
    network = trained_a_little(8)
    has_identity = [layer.identity_norm is not None for layer in network.blocks()]
    assert has_identity == [True, True, False, True, False, True]
    assert network.stem.identity_norm is None


def test_3x3_weights_are_those_of_the_plain_network():
    torch.manual_seed(0)
    network = NETWORKS["repvgg"](14, 3, 5)
    torch.manual_seed(0)
    plain = NETWORKS["plain"](14, 3, 5)
    for own, other in zip(weighted_layers(network)[:-1], weighted_layers(plain)[:-1], strict=True):
        assert torch.equal(own.weighted.weight, other.weighted.weight)


@pytest.mark.parametrize("is_folded", [False, True])
def test_probes_measure_the_3x3_convolution_before_and_after_folding(is_folded):
    """Before, z is the output of the 3x3 convolution alone; after, it is the sum of all branches."""
    network = trained_a_little(8)
    network = fold(network) if is_folded else network.train()
    x, y = torch.randn(4, 3, 8, 8, dtype=torch.float64), torch.arange(4)
    names = ("grad_norm_weight", "grad_norm_preact", "weight_norm", "response_std")
    recorder = Recorder(network, {name: PROBES[name].load() for name in names})
    with recorder:
        F.cross_entropy(network(x), y).backward()
        measured = recorder.values()
    preactivations, responses, h = [], [], x
    for layer in [network.stem, *network.blocks()]:
        z = F.conv2d(h, layer.conv.weight, layer.conv.bias, layer.conv.stride, 1)
        preactivations.append(z)
        responses.append(z if is_folded else layer.norm(z))
        total = responses[-1]
        if not is_folded:
            total = total + layer.pointwise_norm(layer.pointwise(h))
            total = total + (layer.identity_norm(h) if layer.identity_norm else 0)
        h = total.relu()
    loss = F.cross_entropy(network.fc(h.mean((2, 3))), y)
    weights = [layer.weighted.weight for layer in weighted_layers(network)[:-1]]
    gradients = torch.autograd.grad(loss, weights + preactivations)
    of_weights, of_preactivations = gradients[: len(weights)], gradients[len(weights) :]
    for row, values in enumerate(zip(of_weights, of_preactivations, weights, responses, strict=True)):
        expected = [value.norm() for value in values[:3]] + [values[3].std(correction=0)]
        torch.testing.assert_close(measured[row], torch.stack(expected).detach(), rtol=1e-9, atol=1e-12)
