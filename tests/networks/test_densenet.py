import pytest
import torch
import torch.nn.functional as F
import torchvision.models
from torch import nn

from depthbench.networks import NETWORKS
from depthbench.networks.cost import count_multiply_adds, count_parameters
from depthbench.networks.densenet import DenseLayer, ImageNetDenseNet
from tests.networks.torchvision_networks import assert_equal_to_torchvisions


@pytest.mark.parametrize(
    ("name", "depth", "growth", "parameters"),
    [
        ("densenet", 40, 12, 1_019_722),
        ("densenet_bc", 100, 12, 769_162),
        ("densenet_bc", 250, 24, 15_324_406),
        ("densenet_bc", 190, 40, 25_624_430),
    ],
)
def test_parameters_are_those_of_the_paper(name, depth, growth, parameters):
    """Huang et al. 2017, Table 2: 1.0, 0.8, 15.3 and 25.6 million."""
    with torch.device("meta"):
        network = NETWORKS[name](depth=depth, growth=growth)
        assert count_parameters(network) == parameters
        assert len(network.weighted_layers()) == depth


@pytest.mark.parametrize("name", ["densenet", "densenet_bc"])
def test_a_layer_keeps_what_it_is_given_and_adds_its_growth(name):
    torch.manual_seed(0)
    network = NETWORKS[name](depth=16, growth=3)
    layers = [block for block in network.blocks() if isinstance(block, DenseLayer)]
    first = layers[0]
    x = torch.randn(2, first.norm1.num_features, 4, 4)
    y = first(x.clone())
    assert torch.equal(y[:, :-3], x)
    new = first.conv1(F.relu(first.norm1(x)))
    if name == "densenet_bc":
        new = first.conv2(F.relu(first.norm2(new)))
    torch.testing.assert_close(y[:, -3:], new)
    assert [layer.convolutions[-1].out_channels for layer in layers] == [3] * len(layers)


def test_every_layer_of_a_block_uses_the_first_map_of_the_block():
    """Without the weights for its own new channels, each layer still gives the first map a gradient."""
    network = NETWORKS["densenet"](depth=13, growth=4, norm="none", activation="identity")
    x = torch.randn(1, 16, 4, 4, requires_grad=True)
    maps = network.stages[0](x)
    for k in range(3):
        own = maps[:, 16 + 4 * k : 20 + 4 * k]
        assert torch.autograd.grad(own.sum(), x, retain_graph=True)[0].any()


def test_multiply_adds_counted_by_hand():
    network = NETWORKS["densenet_bc"](depth=16, growth=4)  # 2 layers per block
    products, channels = 3 * 8 * 9 * 64, 8
    for pixels in (64, 16, 4):
        if pixels < 64:
            products += channels * (channels // 2) * pixels * 4  # before the pooling
            channels //= 2
        for _ in range(2):
            products += (channels * 16 + 9 * 16 * 4) * pixels
            channels += 4
    assert count_multiply_adds(network, (3, 8, 8)) == products + channels * 10


@pytest.mark.parametrize("size", [1, 3, 5])
def test_small_and_odd_images_pass(size):
    assert NETWORKS["densenet"](depth=7, in_channels=1).eval()(torch.rand(2, 1, size, size)).shape == (2, 10)


def test_a_response_is_the_norm_of_a_bottleneck_or_else_the_convolution():
    network = NETWORKS["densenet_bc"](depth=10, growth=4)
    block = network.stages[0][0]
    responses = [layer.response for layer in network.weighted_layers()[:4]]
    assert responses == [network.conv1, block.norm2, block.conv2, network.stages[0][1].conv1]


def test_gradients_reach_every_parameter_and_dropout_follows_convolutions():
    network = NETWORKS["densenet"](depth=10, growth=4, dropout=0.5)
    F.cross_entropy(network(torch.randn(8, 3, 8, 8)), torch.arange(8)).backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []
    layer = network.stages[0][0]
    nn.init.ones_(layer.conv1.weight)
    dropped = (layer.new(torch.randn(4, 16, 8, 8)) == 0).float().mean()
    assert 0.4 < dropped < 0.6


@pytest.mark.parametrize(
    ("options", "parameters"),
    [({"depth": 121}, 7_978_856), ({"depth": 161}, 28_681_000)],
)
def test_for_imagenet_it_is_torchvisions(options, parameters):
    reference = getattr(torchvision.models, f"densenet{options['depth']}")
    assert_equal_to_torchvisions(
        lambda: NETWORKS["densenet_imagenet"](**options), reference, parameters=parameters
    )


def test_a_chosen_growth_replaces_that_of_the_depth():
    """The network of depth 161 has 48 in torchvision, and 28,681,000 parameters."""
    family = NETWORKS["densenet_imagenet"]
    assert [family.defaults(depth)["growth"] for depth in (121, 161, 169)] == [32, 48, 32]
    assert family.settle(161, {"growth": 32}) == family.defaults(161) | {"growth": 32}
    with torch.device("meta"):
        built = [family(depth=161), family(161), ImageNetDenseNet(161), family(depth=161, growth=None)]
        assert {count_parameters(network) for network in built} == {28_681_000}
        assert count_parameters(family(depth=161, growth=48)) == 28_681_000
        assert count_parameters(family(depth=161, growth=32)) < 14_000_000


@pytest.mark.parametrize("depth", [121, 161, 169, 201])
def test_multiply_adds_for_imagenet_are_those_of_torchvision(depth):
    """The paper shows them in a figure only. torchvision states 2.834, 7.728, 3.36 and 4.291 billion."""
    weights = getattr(torchvision.models, f"DenseNet{depth}_Weights").IMAGENET1K_V1
    with torch.device("meta"):
        network = NETWORKS["densenet_imagenet"](depth=depth)
        products = count_multiply_adds(network, (3, 224, 224))
        assert len(network.weighted_layers()) == depth
    assert products == pytest.approx(1e9 * weights.meta["_ops"], rel=0.001)
