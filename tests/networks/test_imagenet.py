from functools import cache

import pytest
import torch
import torch.nn.functional as F
import torchvision.models
from torch import nn

from depthbench.errors import BadInput
from depthbench.networks import NETWORKS
from depthbench.networks.checkpointing import recompute_activations
from depthbench.networks.cost import count_multiply_adds, count_parameters

FAMILIES = ["plain_imagenet", "resnet_imagenet"]
DEPTHS = [18, 34, 50, 101, 152]


def build(name, depth=18, seed=0, **options):
    torch.manual_seed(seed)
    return NETWORKS[name](depth=depth, **options)


def images(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@cache
def of_torchvision(depth):
    """Return torchvision's network with random weights and running statistics."""
    with torch.random.fork_rng():
        torch.manual_seed(depth)
        network = getattr(torchvision.models, f"resnet{depth}")(weights=None).eval()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.2, 0.8)
                nn.init.normal_(module.bias)
                nn.init.normal_(module.running_mean)
                nn.init.uniform_(module.running_var, 0.5, 2.0)
    return network


def name_there(ours):
    """Return torchvision's name of a parameter or buffer."""
    parts = ours.split(".")
    if parts[0] == "stages":
        parts[:2] = [f"layer{int(parts[1]) + 1}"]
    if "shortcut" in parts:
        parts[parts.index("shortcut")] = "downsample"
    return ".".join(part.replace("norm", "bn") for part in parts)


@pytest.mark.parametrize("depth", DEPTHS)
def test_with_torchvisions_weights_it_has_torchvisions_logits(depth):
    reference = of_torchvision(depth)
    ours = build("resnet_imagenet", depth, shortcut="B", bottleneck_stride="3x3").eval()
    weights = reference.state_dict()
    assert {name_there(key) for key in ours.state_dict()} == set(weights)
    ours.load_state_dict({key: weights[name_there(key)] for key in ours.state_dict()})
    assert count_parameters(ours) == count_parameters(reference)
    x = images(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), reference(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("depth", "billions", "printed"),
    [
        (18, 1.79, 1.8),
        (34, 3.64, 3.6),
        (50, 3.86, 3.8),  # the paper truncates the last digit
        (101, 7.57, 7.6),
        (152, 11.28, 11.3),
    ],
)
def test_multiply_adds_are_those_of_the_paper(depth, billions, printed):
    network = build("resnet_imagenet", depth)
    assert round(count_multiply_adds(network, (3, 224, 224)) / 1e9, 2) == billions
    assert abs(billions - printed) < 0.1


def test_the_stride_of_a_bottleneck_moves_multiply_adds_and_no_parameters():
    first, second = (build("resnet_imagenet", 50, bottleneck_stride=where) for where in ("1x1", "3x3"))
    assert count_parameters(first) == count_parameters(second)
    assert count_multiply_adds(first, (3, 64, 64)) < count_multiply_adds(second, (3, 64, 64))
    block = second.stages[1][0]
    assert [conv.stride for conv in block.convolutions] == [(1, 1), (2, 2), (1, 1)]
    assert [conv.stride for conv in first.stages[1][0].convolutions] == [(2, 2), (1, 1), (1, 1)]


@pytest.mark.parametrize("depth", [18, 34])
def test_basic_twins_have_the_same_parameters(depth):
    plain, residual = (dict(build(name, depth, width=4).named_parameters()) for name in FAMILIES)
    assert list(plain) == list(residual)
    assert all(torch.equal(plain[key], residual[key]) for key in plain)


@pytest.mark.parametrize(
    "options",
    [
        {"depth": 50},
        {"depth": 50, "shortcut": "C", "init": "orthogonal"},
        {"depth": 50, "shortcut": "A", "norm": "none"},
        {"shortcut": "B", "init": "normal:0.01", "norm": "group"},
        {"shortcut": "C", "in_channels": 1, "num_classes": 7, "activation": "tanh"},
    ],
)
def test_twins_are_equal_bit_for_bit_in_the_layers_that_both_have(options):
    plain, residual = (dict(build(name, width=4, **options).named_parameters()) for name in FAMILIES)
    assert {key for key in residual if "shortcut" not in key} == set(plain)
    assert all(torch.equal(plain[key], residual[key]) for key in plain)


@pytest.mark.parametrize(
    ("depth", "shortcut", "projections"),
    [(18, None, 0), (18, "B", 3), (18, "C", 8), (50, None, 4), (50, "A", 0), (50, "C", 16)],
)
def test_projections_are_where_the_option_says(depth, shortcut, projections):
    network = build("resnet_imagenet", depth, shortcut=shortcut, width=4)
    shortcuts = [module for name, module in network.named_modules() if name.endswith("shortcut.0")]
    assert len(shortcuts) == projections
    if shortcut == "B":
        assert [projection.stride for projection in shortcuts] == [(2, 2)] * 3
    assert network(images(2, 3, 40, 40)).shape == (2, 1000)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("depth", DEPTHS)
def test_weighted_layers_are_those_of_the_forward_pass_in_its_order(name, depth):
    network = build(name, depth, width=1, shortcut="A")
    called = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(lambda module, inputs, output: called.append(module))
    network.eval()(images(1, 3, 32, 32))
    layers = network.weighted_layers()
    assert called == [layer.weighted for layer in layers]
    assert len(layers) == depth
    modules = dict(network.named_modules())
    assert all(modules[layer.name] is layer.weighted for layer in layers)
    assert [layer.stage for layer in layers if layer.stage in ("conv1", "fc")] == ["conv1", "fc"]


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_a_response_is_the_output_of_the_layers_own_norm(norm):
    network = build("resnet_imagenet", 50, norm=norm, width=4)
    block = network.stages[3][2]
    expected = [block.conv3, block.norm3][norm == "batch"]
    assert network.weighted_layers()[-2].response is expected


def test_a_block_adds_its_shortcut_before_the_last_nonlinearity():
    plain, residual, scaled = (
        build(name, 50, norm="none", width=4, **options).stages[0][1]
        for name, options in zip([*FAMILIES, FAMILIES[1]], [{}, {}, {"branch_scale": 0.25}], strict=True)
    )
    x = images(2, 16, 8, 8)
    branch = plain.conv3(F.relu(plain.conv2(F.relu(plain.conv1(x)))))
    assert torch.equal(plain(x), F.relu(branch))
    assert torch.equal(residual(x), F.relu(branch + x))
    assert torch.equal(scaled(x), F.relu(0.25 * branch + x))


def test_a_branch_scale_leaves_a_plain_network_as_it_is():
    x = images(2, 3, 32, 32)
    one, other = (build("plain_imagenet", width=4, branch_scale=scale) for scale in (1.0, 0.5))
    assert torch.equal(one(x), other(x))


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize("norm", ["batch", "none"])
def test_gradients_reach_every_parameter(name, depth, norm):
    network = build(name, depth, norm=norm, width=8, shortcut="C", num_classes=8)
    F.cross_entropy(network(images(8, 3, 64, 64)), torch.arange(8)).backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_dropout_is_between_the_convolutions_and_only_in_training():
    network = build("resnet_imagenet", 50, norm="none", width=4, dropout=0.5)
    block, x = network.stages[0][1], images(2, 16, 8, 8)
    for conv in (block.conv2, block.conv3):
        seen = []
        handle = conv.register_forward_pre_hook(lambda module, inputs, seen=seen: seen.append(inputs[0]))
        block.eval()(x)
        block.train()(x)
        handle.remove()
        assert (seen[1] == 0).float().mean() > (seen[0] == 0).float().mean() + 0.1
    without = build("resnet_imagenet", 50, norm="none", width=4).eval()
    x = images(2, 3, 32, 32)
    assert torch.equal(network.eval()(x), without(x))


@pytest.mark.parametrize("depth", [18, 50])
def test_activations_can_be_computed_again(depth):
    networks = [build("resnet_imagenet", depth, width=4, num_classes=4) for _ in range(2)]
    recompute_activations(networks[1], (4, 3, 64, 64))
    for network in networks:
        F.cross_entropy(network(images(4, 3, 64, 64)), torch.arange(4)).backward()
    one, other = (dict(network.named_parameters()) for network in networks)
    assert all(torch.equal(one[key].grad, other[key].grad) for key in one)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 20}, "depth 20 does not exist; use 18 or 34"),
        ({"shortcut": "b"}, "should be A, B or C"),
        ({"bottleneck_stride": "7x7"}, "should be 1x1 or 3x3"),
    ],
)
def test_an_impossible_network_is_refused(options, message):
    with pytest.raises(BadInput, match=message):
        build("resnet_imagenet", **options)


@pytest.mark.parametrize("size", [2, 33])
def test_small_and_odd_images_pass(size):
    assert build("resnet_imagenet", 50, width=2).eval()(images(1, 3, size, size)).shape == (1, 1000)


@pytest.mark.parametrize("name", ["resnet_imagenet", "resnext_imagenet", "densenet_imagenet"])
def test_the_stem_of_cifar_networks_keeps_the_size_of_the_map(name):
    """It multiplies the pixels of every stage by 16: all products but those of the stem."""
    depth = NETWORKS[name].depths.depth(1)
    seen = {}
    for stem in ("imagenet", "cifar"):
        with torch.device("meta"):
            network = build(name, depth, stem=stem)
        first = network.blocks()[0]
        first.register_forward_pre_hook(lambda _, inputs, stem=stem: seen.update({stem: inputs[0].shape[2:]}))
        seen[stem, "products"] = count_multiply_adds(network, (3, 32, 32))
    assert (seen["imagenet"], seen["cifar"]) == ((8, 8), (32, 32))
    channels, classes = network.conv1.out_channels, network.fc.weight.numel()
    stages = seen["imagenet", "products"] - 147 * channels * 16**2 - classes
    assert seen["cifar", "products"] == 16 * stages + 27 * channels * 32**2 + classes


def test_the_stem_does_not_change_the_twins():
    plain, residual = (dict(build(name, width=4, stem="cifar").named_parameters()) for name in FAMILIES)
    assert list(plain) == list(residual)
    assert all(torch.equal(plain[key], residual[key]) for key in plain)
    assert plain["conv1.weight"].shape == (4, 3, 3, 3)
