import pytest
import torch
import torch.nn.functional as F
from torch import nn

from depthbench.errors import BadInput
from depthbench.networks import NETWORKS
from depthbench.networks.cifar import PadShortcut
from depthbench.networks.cost import count_multiply_adds, count_parameters

FAMILIES = ["plain", "resnet"]


def build(name, depth=8, seed=0, **options):
    torch.manual_seed(seed)
    return NETWORKS[name](depth=depth, **options)


def images(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(
    ("depth", "parameters", "millions"),
    [
        (20, 269_722, "40.6"),
        (32, 464_154, "68.9"),
        (44, 658_586, "97.2"),
        (56, 853_018, "125.5"),
        (110, 1_727_962, "252.9"),
        (1202, 19_421_274, "2829"),
    ],
)
def test_cost_is_that_of_the_paper(name, depth, parameters, millions):
    network = build(name, depth)
    assert count_parameters(network) == parameters
    decimals = len(millions.partition(".")[2])
    assert f"{count_multiply_adds(network, (3, 32, 32)) / 1e6:.{decimals}f}" == millions


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"depth": 26},
        {"norm": "none"},
        {"norm": "group", "width": 24},
        {"norm": "layer", "activation": "gelu"},
        {"init": "xavier", "activation": "tanh"},
        {"init": "orthogonal", "width": 5},
        {"init": "normal:0.01", "norm": "none", "dropout": 0.3},
        {"in_channels": 1, "num_classes": 37},
    ],
)
def test_twins_are_equal_bit_for_bit_at_step_0(options):
    plain, residual = (dict(build(name, **options).named_parameters()) for name in FAMILIES)
    assert list(plain) == list(residual)
    assert all(torch.equal(plain[key], residual[key]) for key in plain)


@pytest.mark.parametrize("shortcut", ["B", "C"])
@pytest.mark.parametrize("init", ["he", "orthogonal"])
def test_projections_leave_the_layers_that_twins_share_equal(shortcut, init):
    plain, residual = (
        dict(build(name, 14, shortcut=shortcut, init=init).named_parameters()) for name in FAMILIES
    )
    assert {key for key in residual if "shortcut" not in key} == set(plain)
    assert all(torch.equal(plain[key], residual[key]) for key in plain)


def test_another_seed_gives_other_weights():
    assert not torch.equal(build("plain", seed=0).conv1.weight, build("plain", seed=1).conv1.weight)


def test_option_a_pads_both_sides_evenly_and_takes_every_second_pixel():
    x = torch.arange(2 * 4 * 4.0).reshape(1, 2, 4, 4) + 1
    y = PadShortcut(2, 6, stride=2)(x)
    assert y.shape == (1, 6, 2, 2)
    assert y[0, [0, 1, 4, 5]].eq(0).all()
    assert y[0, 2].tolist() == [[1, 3], [9, 11]]
    assert y[0, 3].tolist() == [[17, 19], [25, 27]]
    assert PadShortcut(2, 2, stride=1)(x) is x


def test_a_residual_network_without_branches_is_its_shortcuts():
    network = build("resnet", 14, norm="none", width=4)
    for layer in network.weighted_layers():
        if layer.name.endswith("conv2"):
            nn.init.zeros_(layer.weighted.weight)
    x = images(2, 3, 8, 8)
    y = F.relu(network.conv1(x))
    y = F.pad(y[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2))
    y = F.pad(y[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4))
    assert torch.equal(network(x), network.fc(y.mean((2, 3))))


def test_a_plain_network_without_branches_says_nothing_of_its_input():
    network = build("plain", norm="none", width=4)
    nn.init.zeros_(network.stages[1][0].conv2.weight)
    assert network(images(2, 3, 8, 8)).eq(0).all()


def test_a_block_adds_its_shortcut_before_the_last_nonlinearity():
    plain, residual = (build(name, norm="none", width=4).stages[0][0] for name in FAMILIES)
    x = images(2, 4, 8, 8)
    branch = plain.conv2(F.relu(plain.conv1(x)))
    assert torch.equal(plain(x), F.relu(branch))
    assert torch.equal(residual(x), F.relu(branch + x))


@pytest.mark.parametrize(
    ("shortcut", "projections", "parameters"),
    [
        ("A", 0, 269_722),
        ("B", 2, 269_722 + (16 * 32 + 64) + (32 * 64 + 128)),
        ("C", 9, 283_962),
    ],
)
def test_projections_are_where_the_option_says(shortcut, projections, parameters):
    network = build("resnet", 20, shortcut=shortcut)
    found = {n: m for n, m in network.named_modules() if getattr(m, "kernel_size", None) == (1, 1)}
    assert len(found) == projections
    assert count_parameters(network) == parameters
    strided = ["stages.1.0.shortcut.0", "stages.2.0.shortcut.0"]
    assert [name for name, m in found.items() if m.stride == (2, 2)] == (strided if projections else [])
    assert network(images(1, 3, 8, 8)).shape == (1, 10)
    assert count_parameters(build("plain", 20, shortcut=shortcut)) == 269_722


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(
    ("options", "told"), [({"depth": 21}, "nearest: 20 or 26"), ({"shortcut": "b"}, "should be A, B or C")]
)
def test_what_cannot_be_built_is_refused(name, options, told):
    with pytest.raises(BadInput, match=told):
        build(name, **options)


@pytest.mark.parametrize("options", [{}, {"shortcut": "C"}, {"norm": "none"}])
def test_weighted_layers_are_those_of_the_forward_pass_in_its_order(options):
    network = build("resnet", 20, **options)
    layers = network.weighted_layers()
    called = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and getattr(module, "kernel_size", None) != (1, 1):
            module.register_forward_hook(lambda module, inputs, output: called.append(module))
    network(images(2, 3, 8, 8))
    assert called == [layer.weighted for layer in layers]
    assert len(layers) == 20
    assert [layer.stage for layer in layers] == ["conv1", *"111111222222333333", "fc"]
    modules = dict(network.named_modules())
    assert all(modules[layer.name] is layer.weighted for layer in layers)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("norm", ["batch", "group", "layer", "none"])
def test_a_response_is_the_output_of_the_layers_own_norm(name, norm):
    network = build(name, norm=norm)
    *convolutions, classifier = network.weighted_layers()
    block = network.stages[2][0]
    expected = [block.conv1, block.conv2] if norm == "none" else [block.norm1, block.norm2]
    assert [layer.response for layer in convolutions[-2:]] == expected
    assert classifier.response is classifier.weighted is network.fc


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("norm", ["batch", "group", "layer", "none"])
@pytest.mark.parametrize("shortcut", ["A", "C"])
def test_gradients_reach_every_parameter(name, norm, shortcut):
    network = build(name, norm=norm, shortcut=shortcut, width=8)
    F.cross_entropy(network(images(8, 3, 8, 8)), torch.arange(8)).backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_only_a_network_without_norm_has_biases_in_its_convolutions(norm):
    convolutions = [m for m in build("resnet", shortcut="C", norm=norm).modules() if isinstance(m, nn.Conv2d)]
    assert {m.bias is not None for m in convolutions} == {norm == "none"}


def test_a_plain_network_of_identities_is_linear():
    network = build("plain", norm="none", activation="identity", width=4).double()
    x, y = images(2, 1, 3, 8, 8).double()
    torch.testing.assert_close(network(x + 2 * y), network(x) + 2 * network(y), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", FAMILIES)
def test_dropout_is_between_the_convolutions_and_only_in_training(name):
    network = build(name, norm="none", width=4, dropout=0.5)
    block, x = network.stages[0][0], images(2, 4, 8, 8)
    seen = []
    block.conv2.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    block.eval()(x)
    block.train()(x)
    kept = seen[1] != 0
    assert torch.equal(seen[1][kept], 2 * seen[0][kept])
    assert 0.4 < kept.sum() / (seen[0] != 0).sum() < 0.6

    without = build(name, norm="none", width=4).eval()
    x = images(2, 3, 8, 8)
    assert torch.equal(network.eval()(x), without(x))


@pytest.mark.parametrize("size", [2, 7, 8])
def test_small_and_odd_images_pass(size):
    assert build("resnet", in_channels=1, num_classes=5)(images(2, 1, size, size)).shape == (2, 5)
