import pytest
import torch
import torchvision.models
from torch import nn

from depthbench.errors import BadInput
from depthbench.networks import NETWORKS
from depthbench.networks.cost import count_multiply_adds, count_parameters
from tests.networks.torchvision_networks import assert_equal_to_torchvisions


@pytest.mark.parametrize(
    ("depth", "widen", "parameters"), [(28, 10, 36_479_194), (40, 4, 8_949_210), (16, 8, 10_961_370)]
)
def test_parameters_are_those_of_the_paper(depth, widen, parameters):
    """Zagoruyko & Komodakis 2016, Table 4: 36.5, 8.9 and 11.0 million."""
    with torch.device("meta"):
        assert count_parameters(NETWORKS["wide_resnet"](depth=depth, widen=widen)) == parameters


def test_the_depth_counts_convolutions_and_only_blocks_are_widened():
    network = NETWORKS["wide_resnet"](depth=16, widen=3, width=4)
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 16
    projections = [m for m in convolutions if m.kernel_size == (1, 1)]
    shapes = [(m.in_channels, m.out_channels, m.stride[0]) for m in projections]
    assert shapes == [(4, 12, 1), (12, 24, 2), (24, 48, 2)]
    assert len(network.weighted_layers()) == 16 + 1 - 3  # with the classifier, without projections
    products = 4 * 3 * 9 * 64  # of the first convolution, for an image of 8x8
    for c_in, width, pixels in ((4, 12, 64), (12, 24, 16), (24, 48, 4)):
        products += (9 * c_in * width + 3 * 9 * width**2 + c_in * width) * pixels
    assert count_multiply_adds(network, (3, 8, 8)) == products + 48 * 10


def test_widening_by_one_is_the_preactivation_network_with_projections():
    x = torch.randn(4, 3, 8, 8)
    torch.manual_seed(0)
    wide = NETWORKS["wide_resnet"](depth=10, widen=1).eval()
    torch.manual_seed(0)
    narrow = NETWORKS["preresnet"](depth=8, shortcut="B").eval()
    assert wide.state_dict().keys() - narrow.state_dict().keys() == set()  # the first width does not change
    assert torch.equal(wide(x), narrow(x))


def test_the_nearest_depths_are_named():
    with pytest.raises(BadInput, match=r"depth 20 is not 6n\+4 with n >= 1; use 16 or 22"):
        NETWORKS["wide_resnet"](depth=20)


def test_for_imagenet_it_is_torchvisions():
    assert_equal_to_torchvisions(
        lambda: NETWORKS["wide_resnet_imagenet"](depth=50), torchvision.models.wide_resnet50_2, 68_883_240
    )


def test_multiply_adds_for_imagenet_are_those_of_torchvision():
    """The paper states none. torchvision states 11.398 and 22.753 billion."""
    for depth, weights in (
        (50, torchvision.models.Wide_ResNet50_2_Weights.IMAGENET1K_V1),
        (101, torchvision.models.Wide_ResNet101_2_Weights.IMAGENET1K_V1),
    ):
        with torch.device("meta"):
            network = NETWORKS["wide_resnet_imagenet"](depth=depth)
            products = count_multiply_adds(network, (3, 224, 224))
        assert products == pytest.approx(1e9 * weights.meta["_ops"], rel=0.001)


def test_a_bottleneck_is_wide_inside_only():
    block = NETWORKS["wide_resnet_imagenet"](depth=50, width=4, widen=3).stages[1][1]
    assert [conv.out_channels for conv in block.convolutions] == [24, 24, 32]
    with pytest.raises(BadInput, match="depth 34 does not exist; use 50"):
        NETWORKS["wide_resnet_imagenet"](depth=34)
