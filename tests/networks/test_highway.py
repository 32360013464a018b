import pytest
import torch
import torch.nn.functional as F

from depthbench.errors import BadInput
from depthbench.networks import NETWORKS
from depthbench.networks.cost import count_multiply_adds, count_parameters
from depthbench.networks.highway import HighwayLayer, PlainLayer


def build(name, depth, **options):
    torch.manual_seed(0)
    return NETWORKS[name](depth=depth, **options)


def test_a_highway_layer_is_its_equation():
    layer = build("highway", 8, width=4).blocks()[1]
    x = torch.randn(2, 4, 6, 6)
    h, t = F.relu(layer.affine(x)), torch.sigmoid(layer.gate.affine(x))
    torch.testing.assert_close(layer(x), h * t + x * (1 - t))


@pytest.mark.parametrize("name", ["highway", "highway_mlp"])
@pytest.mark.parametrize(("bias", "kept"), [(-1e4, "input"), (1e4, "transform")])
def test_closed_gates_pass_on_the_input_and_open_ones_its_transform(name, bias, kept):
    shape = (8,) if name == "highway_mlp" else (4, 6, 6)
    layer = build(name, 8, in_channels=8, width=shape[0], transform_bias=bias).blocks()[1]
    x = torch.randn(3, *shape)
    assert torch.equal(layer(x), x if kept == "input" else F.relu(layer.affine(x)))


def test_layers_that_change_the_shape_are_plain():
    network = build("highway", 14, width=4)
    kinds = [type(layer) for layer in network.blocks()]
    plain, highway = PlainLayer, HighwayLayer
    assert kinds == [plain, *[highway] * 4, *[plain, *[highway] * 3] * 2]
    assert [layer.stage for layer in network.weighted_layers()] == ["conv1", *"111122223333", "fc"]


def test_its_layers_have_the_initial_weights_of_the_plain_network():
    highway, plain = build("highway", 14), build("plain", 14, norm="none")
    for own, other in zip(highway.weighted_layers(), plain.weighted_layers(), strict=True):
        assert torch.equal(own.weighted.weight, other.weighted.weight)
        assert own.weighted.bias.eq(0).all()
    gates = [layer.gate.affine for layer in highway.blocks() if isinstance(layer, HighwayLayer)]
    assert all(gate.bias.eq(-2).all() for gate in gates)
    x = torch.randn(2, 3, 8, 8)
    for gate in gates:
        torch.nn.init.constant_(gate.bias, 1e4)
    torch.testing.assert_close(highway(x), plain(x))


def test_parameters_and_multiply_adds_counted_by_hand():
    network = build("highway", 8, width=4)
    parameters, products = 3 * 4 * 9 + 4, 3 * 4 * 9 * 64
    for c_in, width, pixels, gates in ((4, 4, 64, 2), (4, 8, 16, 1), (8, 16, 4, 1)):
        weights = 9 * c_in * width + 9 * width * width + 9 * width * width * gates
        parameters += weights + (2 + gates) * width
        products += weights * pixels
    assert count_parameters(network) == parameters + 16 * 10 + 10
    assert count_multiply_adds(network, (3, 8, 8)) == products + 16 * 10


def test_fully_connected_networks_of_the_paper_have_about_equal_parameters():
    """Srivastava et al. 2015, sec. 3.1: 50 units of a highway layer have the cost of 71 plain units."""
    counts = {
        name: count_parameters(build(name, 50, in_channels=784, **options))
        for name, options in (("highway_mlp", {}), ("plain_mlp", {"width": 71, "norm": "none"}))
    }
    assert counts["highway_mlp"] == 785 * 50 + 48 * 2 * 51 * 50 + 51 * 10
    assert counts["plain_mlp"] == 785 * 71 + 48 * 72 * 71 + 72 * 10
    assert abs(counts["plain_mlp"] / counts["highway_mlp"] - 1) < 0.07


def test_any_depth_from_3_on():
    layers = build("highway_mlp", 3, in_channels=4).weighted_layers()
    assert [layer.stage for layer in layers] == ["input", "1", "fc"]
    with pytest.raises(BadInput, match=r"depth 2 is not n\+2 with n >= 1; use 3"):
        build("highway_mlp", 2, in_channels=4)


@pytest.mark.parametrize("name", ["highway", "highway_mlp"])
def test_gradients_reach_every_parameter(name):
    network = build(name, 8, in_channels=NETWORKS[name].in_channels((3, 8, 8)), width=8)
    F.cross_entropy(network(torch.randn(8, 3, 8, 8)), torch.arange(8)).backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []
