import pytest
import torch
import torch.nn.functional as F
from torch import nn

from depthbench.errors import BadInput
from depthbench.networks import NETWORKS
from depthbench.networks.checkpointing import recompute_activations
from depthbench.networks.cost import count_parameters

FAMILIES = ["tutorial_cnn", "tutorial_cnn_residual"]


def build(name, depth=9, **options):
    torch.manual_seed(0)
    return NETWORKS[name](depth=depth, **options)


def as_taught():
    """Return the network as tutorials write it."""
    layers, c_in = [], 3
    for widths in ([32, 32], [64, 64], [128, 128, 128]):
        for width in widths:
            layers += [nn.Conv2d(c_in, width, 3, padding=1), nn.ReLU()]
            c_in = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(128 * 4 * 4, 512), nn.ReLU(), nn.Linear(512, 10))


def test_it_is_the_network_of_the_tutorials_and_has_no_shortcut():
    ours, taught = build("tutorial_cnn"), as_taught()
    taught.load_state_dict(dict(zip(taught.state_dict(), ours.state_dict().values(), strict=True)))
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(ours(x), taught(x))
    assert count_parameters(ours) == count_parameters(taught)


def test_with_shortcuts_it_adds_the_input_of_each_block():
    plain, residual = (build(name, width=4) for name in FAMILIES)
    x = torch.randn(2, 4, 8, 8)
    convolutions = plain.stages[1][0].convolutions
    branch = convolutions[1](F.relu(convolutions[0](x)))
    padded = F.pad(x, (0, 0, 0, 0, 2, 2))
    torch.testing.assert_close(plain.stages[1][0](x), F.max_pool2d(F.relu(branch), 2))
    torch.testing.assert_close(residual.stages[1][0](x), F.max_pool2d(F.relu(branch + padded), 2))


@pytest.mark.parametrize("options", [{}, {"depth": 21, "shortcut": "B"}])
def test_twins_have_the_same_weights(options):
    plain, residual = (dict(build(name, width=4, **options).named_parameters()) for name in FAMILIES)
    assert {key for key in residual if "shortcut" not in key} == set(plain)
    assert all(torch.equal(plain[key], residual[key]) for key in plain)


@pytest.mark.parametrize(("depth", "convolutions"), [(9, [2, 2, 3]), (15, [4, 4, 5]), (33, [10, 10, 11])])
def test_deeper_networks_repeat_pairs_of_convolutions(depth, convolutions):
    network = build("tutorial_cnn", depth, width=2)
    assert [sum(len(block.convolutions) for block in stage) for stage in network.stages] == convolutions
    assert len(network.weighted_layers()) == depth
    with pytest.raises(
        BadInput, match=rf"depth {depth + 1} is not 6n\+3 with n >= 1; use {depth} or {depth + 6}"
    ):
        build("tutorial_cnn", depth + 1)


@pytest.mark.parametrize("side", [1, 8, 33, 64])
def test_images_of_other_sizes_pass(side):
    assert build("tutorial_cnn", width=2)(torch.randn(2, 3, side, side)).shape == (2, 10)


def test_activations_can_be_computed_again():
    x, y = torch.randn(4, 3, 16, 16), torch.arange(4)
    networks = [build("tutorial_cnn_residual", 15, width=4) for _ in range(2)]
    recompute_activations(networks[1], tuple(x.shape))
    for network in networks:
        F.cross_entropy(network(x), y).backward()
    pairs = zip(*(network.parameters() for network in networks), strict=True)
    assert all(torch.equal(one.grad, other.grad) and one.grad.any() for one, other in pairs)
