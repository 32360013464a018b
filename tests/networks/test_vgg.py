from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
import torchvision.models

from depthbench.errors import BadInput
from depthbench.networks import NETWORKS
from depthbench.networks.checkpointing import recompute_activations
from depthbench.networks.cost import count_multiply_adds, count_parameters
from depthbench.networks.families.vgg import VGG_CONVOLUTIONS, vgg_convolutions
from tests.networks.torchvision_networks import assert_equal_to_torchvisions


@pytest.mark.parametrize(
    ("depth", "norm", "parameters"),
    [
        (11, "none", 132_863_336),
        (13, "batch", 133_053_736),
        (16, "none", 138_357_544),
        (19, "batch", 143_678_248),
    ],
)
def test_for_imagenet_it_has_torchvisions_parameters(depth, norm, parameters):
    name = f"vgg{depth}{'_bn' if norm == 'batch' else ''}"
    with torch.device("meta"):
        reference, ours = (
            getattr(torchvision.models, name)(),
            NETWORKS["vgg_imagenet"](depth=depth, norm=norm),
        )
    shapes = [[value.shape for value in network.state_dict().values()] for network in (ours, reference)]
    assert shapes[0] == shapes[1]
    assert count_parameters(ours) == parameters


def test_with_torchvisions_weights_it_has_torchvisions_logits():
    assert_equal_to_torchvisions(
        lambda: NETWORKS["vgg_imagenet"](depth=16), torchvision.models.vgg16_bn, parameters=138_365_992
    )


@pytest.mark.parametrize(
    ("depth", "billions"),
    [
        (11, 7.609),
        (13, 11.308),
        (16, 15.47),
        (19, 19.632),
    ],
)
def test_multiply_adds_for_imagenet(depth, billions):
    """torchvision states these. He et al. 2015, sec. 3.3, have 19.6 for VGG-19, and 15.3 for VGG-16, which
    is the sum of its convolutions."""
    weights = getattr(torchvision.models, f"VGG{depth}_Weights").IMAGENET1K_V1
    assert weights.meta["_ops"] == billions
    with torch.device("meta"):
        network = NETWORKS["vgg_imagenet"](depth=depth)
        products = count_multiply_adds(network, (3, 224, 224))
    assert products == pytest.approx(1e9 * billions, rel=0.001)
    if depth == 16:
        dense = sum(layer.weighted.weight.numel() for layer in network.dense_layers())
        assert products - dense == pytest.approx(15.3e9, rel=0.01)


def test_deeper_networks_repeat_convolutions_in_each_stage():
    assert [vgg_convolutions(depth) for depth in VGG_CONVOLUTIONS] == list(VGG_CONVOLUTIONS.values())
    assert vgg_convolutions(20) == (2, 2, 4, 4, 5)
    assert vgg_convolutions(22) == (2, 2, 5, 5, 5)
    assert vgg_convolutions(24) == (3, 3, 5, 5, 5)
    assert vgg_convolutions(56) == (9, 9, 11, 12, 12)
    for depth in (11, 16, 19, 20, 56):
        with torch.device("meta"):
            small, large = (NETWORKS[name](depth=depth) for name in ("vgg", "vgg_imagenet"))
        assert (len(small.weighted_layers()), len(large.weighted_layers())) == (depth - 2, depth)


@pytest.mark.parametrize(("depth", "nearest"), [(10, "11"), (12, "11 or 13"), (18, "16 or 19")])
def test_other_depths_are_refused_with_the_nearest_ones(depth, nearest):
    for name in ("vgg", "vgg_imagenet"):
        with pytest.raises(BadInput, match=f"depth {depth} does not exist; use {nearest}$"):
            NETWORKS[name](depth=depth)


def test_parameters_for_small_images_counted_by_hand():
    channels = [3, 64, 64, 128, 128, *[256] * 3, *[512] * 6]
    convolutions = sum(9 * a * b for a, b in pairwise(channels))
    norms = sum(2 * channel for channel in channels[1:])
    with torch.device("meta"):
        network = NETWORKS["vgg"](depth=16)
    assert count_parameters(network) == convolutions + norms + 512 * 10 + 10 == 14_724_042


@pytest.mark.parametrize(
    ("side", "sides"), [(32, [16, 8, 4, 2, 1]), (8, [4, 2, 1, 1, 1]), (6, [3, 1, 1, 1, 1])]
)
def test_pooling_ends_at_one_pixel(side, sides):
    network = NETWORKS["vgg"](depth=11, width=2)
    seen = []
    for stage in network.stages:
        stage[-1].register_forward_hook(lambda _, inputs, output: seen.append(output.shape[2:]))
    network(torch.randn(2, 3, side, side))
    assert seen == [(each, each) for each in sides]


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_a_layer_is_its_equation(norm):
    torch.manual_seed(0)
    network = NETWORKS["vgg"](depth=11, width=2, norm=norm)
    first, second = network.blocks()[:2]
    x = torch.randn(4, 3, 8, 8)
    expected = F.max_pool2d(F.relu(first.norm(first.conv(x))), 2)
    torch.testing.assert_close(first(x), expected)
    response = network.weighted_layers()[1].response
    assert response is (second.norm if norm == "batch" else second.conv)


def test_gradients_reach_every_parameter_also_when_activations_are_computed_again():
    torch.manual_seed(0)
    x, y = torch.randn(4, 3, 32, 32), torch.arange(4)
    network = NETWORKS["vgg_imagenet"](depth=11, width=4, num_classes=4, norm="none")
    gradients = []
    for _ in range(2):
        network.zero_grad()
        F.cross_entropy(network(x), y).backward()
        assert all(p.grad.any() for p in network.parameters())
        gradients.append([p.grad.clone() for p in network.parameters()])
        recompute_activations(network, tuple(x.shape))
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))


def test_dropout_is_on_the_later_fully_connected_layers():
    network = NETWORKS["vgg_imagenet"](depth=11, width=4, dropout=0.5)
    dropped = {}
    for name in ("fc1", "fc2", "fc"):
        module = getattr(network, name)
        torch.nn.init.ones_(module.weight)
        module.register_forward_hook(
            lambda _, inputs, output, name=name: dropped.update(
                {name: (inputs[0] == 0).float().mean().item()}
            )
        )
    network(torch.rand(2, 3, 32, 32))
    assert dropped["fc"] > 0.3
    assert dropped["fc2"] > 0.3
