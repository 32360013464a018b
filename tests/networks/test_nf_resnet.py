import math

import pytest
import torch
import torch.nn.functional as F

from depthbench.networks import NETWORKS
from depthbench.networks.checkpointing import in_turn
from depthbench.networks.cost import count_parameters
from depthbench.networks.nf_resnet import ALPHA, StandardisedConv2d, unit_gain


def test_standardised_filters_have_mean_zero_and_variance_one_over_fan_in():
    torch.manual_seed(0)
    layer = StandardisedConv2d(5, 7, 3).double()
    with torch.no_grad():
        layer.weight.mul_(3).add_(2)
    weight = layer.computed().flatten(1)
    torch.testing.assert_close(weight.mean(1), torch.zeros(7, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(weight.var(1, correction=0), torch.full((7,), 1 / 45, dtype=torch.float64))


def test_the_gain_scales_each_filter():
    torch.manual_seed(0)
    layer = StandardisedConv2d(3, 2, 3)
    x = torch.randn(1, 3, 4, 4)
    with torch.no_grad():
        layer.bias.zero_()
        before = layer(x)
        layer.gain[1] = 4
    torch.testing.assert_close(layer(x), before * torch.tensor([1.0, 4]).view(2, 1, 1))


def test_gains_make_the_variance_of_activations_one():
    assert unit_gain(F.relu) == pytest.approx(math.sqrt(2 / (1 - 1 / math.pi)), rel=1e-6)
    assert unit_gain(lambda z: 2 * z) == pytest.approx(0.5, rel=1e-6)
    assert unit_gain(F.gelu) == pytest.approx(1.7015043, rel=1e-3)  # published, measured on samples


def test_expected_variances_grow_in_a_stage_and_begin_again_in_the_next():
    torch.manual_seed(0)
    blocks = NETWORKS["nf_resnet"](20, 3, 10).blocks()
    growth = [1, 1 + ALPHA**2, 1 + 2 * ALPHA**2]
    of_later_stages = [1 + 3 * ALPHA**2, *growth[1:]]  # the first block still divides by that of its input
    assert [block.beta**2 for block in blocks] == pytest.approx([*growth, *of_later_stages, *of_later_stages])
    assert [block.projects for block in blocks] == [False] * 3 + [True, False, False] * 2


def test_measured_variances_are_the_expected_ones():
    """Means of channels vary with the filters, so that the variance is that of each channel on average."""
    torch.manual_seed(0)
    network = NETWORKS["nf_resnet"](26, 3, 10, width=96)
    seen = []
    for block in network.blocks():
        block.register_forward_pre_hook(
            lambda _, inputs: seen.append(inputs[0][..., 4:-4, 4:-4].var((0, 2, 3)).mean().item())
        )
    network.run_blocks = lambda blocks, x: in_turn(blocks[:5], x)[:, [0] * 384]  # the later maps are small
    network(torch.randn(4, 3, 32, 32))
    expected = [block.beta**2 for block in network.blocks()]
    assert seen == pytest.approx(expected[:5], rel=0.1)


def test_parameters_are_those_of_preresnet_and_a_gain_per_channel():
    options = {"norm": "none", "shortcut": "B"}
    other, network = NETWORKS["preresnet"](56, 3, 10, **options), NETWORKS["nf_resnet"](56, 3, 10)
    gains = sum(m.out_channels for m in network.modules() if isinstance(m, StandardisedConv2d))
    assert count_parameters(network) == count_parameters(other) + gains
