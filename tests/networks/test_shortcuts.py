import pytest
import torch
from torch import nn

from depthbench.networks.shortcuts import Gate, PadShortcut, StochasticDepth, make_shortcut


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
