import pytest
import torch

from depthbench.networks import NETWORKS
from depthbench.networks.cost import count_parameters
from depthbench.networks.diracnet import DiracConv2d


def layer(a, b, c_in=4, c_out=4, stride=1):
    torch.manual_seed(0)
    conv = DiracConv2d(c_in, c_out, stride).double()
    with torch.no_grad():
        conv.a.fill_(a)
        conv.b.fill_(b)
    return conv


def test_it_is_the_identity_at_a_one_and_b_zero():
    x = torch.randn(2, 4, 5, 5, dtype=torch.float64)
    assert torch.equal(layer(1, 0)(x), x)
    halved = layer(1, 0, 4, 6, stride=2)(x)
    assert torch.equal(halved[:, :4], x[:, :, ::2, ::2])
    assert halved[:, 4:].eq(0).all()


def test_filters_of_the_weight_have_norm_b_whatever_the_weight():
    conv = layer(0, 0.1)
    norms = conv.computed().flatten(1).norm(dim=1)
    torch.testing.assert_close(norms, torch.full((4,), 0.1, dtype=torch.float64))
    before = conv.computed()
    with torch.no_grad():
        conv.weight.mul_(7)
    torch.testing.assert_close(conv.computed(), before)


def test_the_factors_begin_at_one_and_a_tenth_and_have_gradients():
    conv = DiracConv2d(3, 3)
    assert conv.a.eq(1).all()
    assert conv.b.eq(0.1).all()
    conv(torch.randn(1, 3, 4, 4)).square().sum().backward()
    assert all(p.grad.ne(0).all() for p in (conv.a, conv.b))


@pytest.mark.parametrize("depth", [8, 20])
def test_it_has_the_weights_of_the_plain_network_and_two_factors_per_filter(depth):
    torch.manual_seed(0)
    network = NETWORKS["diracnet"](depth, 3, 10)
    torch.manual_seed(0)
    plain = NETWORKS["plain"](depth, 3, 10)
    pairs = zip(network.weighted_layers(), plain.weighted_layers(), strict=True)
    assert all(torch.equal(own.weighted.weight, other.weighted.weight) for own, other in pairs)
    filters = sum(layer.weighted.out_channels for layer in network.weighted_layers()[1:-1])
    assert count_parameters(network) == count_parameters(plain) + 2 * filters
