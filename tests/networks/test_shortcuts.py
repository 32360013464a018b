import pytest
import torch
import torch.nn.functional as F
from torch import nn

from depthbench.networks import NETWORKS
from depthbench.networks.cost import count_parameters
from depthbench.networks.shortcuts import (
    BranchScale,
    Gate,
    PadShortcut,
    StochasticDepth,
    make_scale,
    make_shortcut,
)


def test_option_a_pads_both_sides_evenly_and_takes_every_second_pixel():
    x = torch.arange(2 * 4 * 4.0).reshape(1, 2, 4, 4) + 1
    y = PadShortcut(2, 6, stride=2)(x)
    assert y.shape == (1, 6, 2, 2)
    assert y[0, [0, 1, 4, 5]].eq(0).all()
    assert y[0, 2].tolist() == [[1, 3], [9, 11]]
    assert y[0, 3].tolist() == [[17, 19], [25, 27]]
    assert PadShortcut(2, 2, stride=1)(x) is x


def test_a_gate_is_the_sigmoid_of_a_weighted_sum_of_channels():
    gate = Gate(2, 1, stride=2, initial_bias=0.0)
    with torch.no_grad():
        gate.weight.copy_(torch.tensor([1.0, -2.0]).reshape(1, 2, 1, 1))
        gate.bias.fill_(0.5)
    x = torch.randn(1, 2, 4, 4)
    expected = torch.sigmoid(x[:, :1, ::2, ::2] - 2 * x[:, 1:, ::2, ::2] + 0.5)
    torch.testing.assert_close(gate(x), expected)


@pytest.mark.parametrize("option", ["A", "B", "C"])
@pytest.mark.parametrize(("c_out", "stride"), [(4, 1), (8, 1), (8, 2), (4, 2)])
def test_b_projects_where_the_shape_changes_and_c_everywhere(option, c_out, stride):
    shortcut = make_shortcut(option, 4, c_out, stride, own_norm="batch", bias=False)
    projects = option == "C" or (option == "B" and (c_out, stride) != (4, 1))
    assert isinstance(shortcut, nn.Sequential if projects else PadShortcut)
    assert shortcut(torch.zeros(2, 4, 6, 6)).shape == (2, c_out, 6 // stride, 6 // stride)


@pytest.mark.parametrize(
    ("own_norm", "follows", "bias"),
    [("batch", nn.BatchNorm2d, False), ("none", nn.Identity, False), ("none", nn.Identity, True)],
)
def test_a_projection_has_the_requested_norm_and_bias(own_norm, follows, bias):
    projection, after = make_shortcut("C", 4, 4, 1, own_norm=own_norm, bias=bias)
    assert isinstance(after, follows)
    assert (projection.bias is not None) == bias


def test_stochastic_depth_keeps_or_drops_the_branch_of_a_whole_batch():
    module, y = StochasticDepth(0.7), torch.rand(3, 2, 4, 4) + 1
    torch.manual_seed(0)
    kept = [bool((output := module(y)).any()) for _ in range(1000)]
    assert torch.equal(output, y if kept[-1] else torch.zeros_like(y))
    assert sum(kept) == pytest.approx(700, abs=60)  # 4 standard deviations
    torch.manual_seed(0)
    assert [bool(module(y).any()) for _ in range(1000)] == kept
    before = torch.get_rng_state()
    torch.testing.assert_close(module.eval()(y), 0.7 * y)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("blocks", "initial"), [(18, 0.1), (19, 1e-5), (24, 1e-5), (25, 1e-6)])
def test_a_scale_begins_at_zero_and_those_of_channels_at_the_value_of_the_depth(blocks, initial):
    scalar, channels = make_scale("scalar", 4, 1, 1), make_scale("channels", 4, 1, 1)
    for scale in (scalar, channels):
        scale.set_initial(blocks)
    assert scalar.scale.shape == ()
    assert scalar.scale.item() == 0
    assert channels.scale.flatten().tolist() == pytest.approx(4 * [initial])


@pytest.mark.parametrize(
    ("name", "of", "options"),
    [
        ("skipinit", "preplain", {"norm": "none"}),
        ("rezero", "plain", {}),
        ("layerscale", "preresnet", {}),
        ("resnet_mlp", "plain_mlp", {}),
    ],
)
def test_scaled_branches_leave_all_other_initial_weights_as_they_are(name, of, options):
    own = {"learned_scale": "scalar"} if name == "resnet_mlp" else {}
    channels = 48 if "mlp" in name else 3
    torch.manual_seed(0)
    network = NETWORKS[name](14, channels, 4, width=4, **own)
    torch.manual_seed(0)
    other = NETWORKS[of](14, channels, 4, width=4, **options)
    own, others = network.state_dict(), other.state_dict()
    extra = own.keys() - others.keys()
    assert {key.rpartition(".")[2] for key in extra} == {"scale"}
    assert len(extra) == len(network.blocks())
    assert all(torch.equal(own[key], others[key]) for key in others)
    numbers = sum(own[key].numel() for key in extra)
    assert count_parameters(network) == count_parameters(other) + numbers


@pytest.mark.parametrize("name", ["skipinit", "rezero"])
def test_a_scale_of_zero_makes_a_block_its_shortcut_and_has_a_gradient_alone(name):
    """dL/da of the sum x + a F(x) is the product of dL/dy with F(x); that of F's weights is 0."""
    torch.manual_seed(0)
    network = NETWORKS[name](14, 3, 4, width=4).double().eval()
    block = network.blocks()[1]
    x = torch.rand(2, 4, 6, 6, dtype=torch.float64)
    y = block(x)
    assert torch.equal(y, x)
    gradient = torch.randn_like(y)
    y.backward(gradient)
    with torch.no_grad():
        block.branch_end[0].scale.fill_(1)
        branch = block(x) - x
    torch.testing.assert_close(block.branch_end[0].scale.grad, (gradient * branch).sum())
    assert block.conv1.weight.grad.eq(0).all()
    assert block.conv2.weight.grad.eq(0).all()


def test_a_constant_and_a_learned_scale_multiply():
    torch.manual_seed(0)
    network = NETWORKS["skipinit"](8, 3, 4, width=4, branch_scale=0.5)
    scales = [module for module in network.modules() if isinstance(module, BranchScale)]
    x = torch.randn(2, 3, 8, 8)
    without = network(x)
    with torch.no_grad():
        for scale in scales:
            scale.scale.fill_(2)
    torch.manual_seed(0)
    expected = NETWORKS["preresnet"](8, 3, 4, width=4, norm="none")(x)
    torch.testing.assert_close(network(x), expected)
    assert not torch.allclose(without, expected)
    F.cross_entropy(network(x), torch.tensor([0, 1])).backward()
    assert all(scale.scale.grad != 0 for scale in scales)
