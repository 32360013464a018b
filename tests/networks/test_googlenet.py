from functools import partial

import pytest
import torch
import torch.nn.functional as F
import torchvision.models
from torch import nn

from depthbench.errors import BadInput
from depthbench.networks import NETWORKS
from depthbench.networks.cost import count_multiply_adds, count_parameters
from depthbench.networks.googlenet import INCEPTIONS
from tests.networks.torchvision_networks import assert_equal_to_torchvisions


def build(name="googlenet", **options):
    torch.manual_seed(0)
    return NETWORKS[name](depth=22, **options)


def test_for_imagenet_it_is_torchvisions():
    reference = partial(torchvision.models.googlenet, aux_logits=False, init_weights=False)
    assert_equal_to_torchvisions(
        lambda: NETWORKS["googlenet_imagenet"](depth=22), reference, parameters=6_624_904, side=64
    )


def test_multiply_adds_for_imagenet():
    """Szegedy et al. 2015, sec. 1, state 1.5 billion, which is the sum of Table 1."""
    with torch.device("meta"):
        products = count_multiply_adds(NETWORKS["googlenet_imagenet"](depth=22), (3, 224, 224))
    assert products == pytest.approx(1.5e9, rel=0.01)


def test_a_module_concatenates_its_parallel_branches():
    """Table 1, inception (3a): 64 of 1x1, 96 before 128 of 3x3, 16 before 32 of 5x5, 32 after pooling."""
    network = build(norm="none")
    module = network.stages[0][0]
    x = torch.randn(2, 192, 6, 6)

    def layer(conv, x):
        return F.relu(F.conv2d(x, conv.weight, conv.bias, padding=conv.kernel_size[0] // 2))

    convolutions = [m for m in module.modules() if isinstance(m, nn.Conv2d)]
    sizes = [(conv.kernel_size[0], conv.out_channels) for conv in convolutions]
    assert sizes == [(1, 64), (1, 96), (3, 128), (1, 16), (5, 32), (1, 32)]
    one, before_3, three, before_5, five, after_pool = (partial(layer, conv) for conv in convolutions)
    pooled = F.max_pool2d(x, 3, 1, padding=1)
    expected = torch.cat([one(x), three(before_3(x)), five(before_5(x)), after_pool(pooled)], 1)
    torch.testing.assert_close(module(x), expected)
    assert build("googlenet_imagenet", width=4).stages[0][0].branch3[1].conv.kernel_size == (3, 3)


def test_filters_are_those_of_the_paper():
    with torch.device("meta"):
        network = NETWORKS["googlenet"](depth=22)
    outputs = [
        sum(
            each[-1].conv.out_channels if isinstance(each, nn.Sequential) else each.conv.out_channels
            for each in module.children()
        )
        for module in network.blocks()
    ]
    assert outputs == [256, 480, 512, 512, 512, 528, 832, 832, 1024]
    # torchvision's has 1,000 classes, a 7x7 convolution first, and 3x3 ones in place of the 5x5
    pairs = [(filters[3], filters[4]) for stage in INCEPTIONS for filters in stage]
    fives = 16 * sum(before * five for before, five in pairs)
    assert count_parameters(network) == 6_624_904 - 990 * 1025 - 40 * 3 * 64 + fives


def test_depth_22_counts_the_longest_path():
    network = build(width=8)
    layers = network.weighted_layers()
    assert [layer.name for layer in layers[:4]] == [
        "conv1.conv",
        "conv2.conv",
        "conv3.conv",
        "stages.0.0.branch2.0.conv",
    ]
    assert len(layers) == 3 + 2 * 9 + 1
    modules = dict(network.named_modules())
    assert all(modules[layer.name] is layer.weighted for layer in layers)
    with pytest.raises(BadInput, match="depth 34 does not exist; use 22"):
        NETWORKS["googlenet"](depth=34)


@pytest.mark.parametrize(("side", "sides"), [(32, [32, 16, 8]), (8, [8, 4, 2]), (1, [1, 1, 1])])
def test_maps_of_small_images_are_halved_twice(side, sides):
    network = build(width=4).eval()
    seen = []
    for stage in network.stages:
        stage[0].branch1.register_forward_hook(lambda _, inputs, output: seen.append(output.shape[2]))
    network(torch.randn(1, 3, side, side))
    assert seen == sides


@pytest.mark.parametrize("name", ["googlenet", "googlenet_imagenet"])
def test_gradients_reach_every_parameter(name):
    network = build(name, width=16, num_classes=4)
    F.cross_entropy(network(torch.randn(8, 3, 32, 32)), torch.arange(8) % 4).backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []
