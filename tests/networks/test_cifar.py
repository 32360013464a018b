import pytest
import torch
import torch.nn.functional as F
from torch import nn

from depthbench.errors import BadInput
from depthbench.networks import NETWORKS
from depthbench.networks.blocks import ORDERS
from depthbench.networks.cost import count_multiply_adds, count_parameters

FAMILIES = ["plain", "resnet"]
TWINS = [FAMILIES, ["plain_bottleneck", "resnet_bottleneck"], ["preplain", "preresnet"]]
TWINS.append(["preplain_bottleneck", "preresnet_bottleneck"])


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


def bottleneck_cost(depth, pre_activated):
    """Return the parameters of a bottleneck network, and its multiply-adds for an image of 32x32.

    Each stage has n blocks. They work on w channels and return 4w. Where the width changes, the shortcut is a
    projection (He et al. 2016: 1x1, 16; 3x3, 16; 1x1, 64 in the first stage)."""
    n, parameters, products = (depth - 2) // 9, 3 * 3 * 3 * 16, 3 * 3 * 3 * 16 * 32**2
    given, norms = 16, 16  # channels of a stage's input; normalised channels of the first norm
    for w, side in ((16, 32), (32, 16), (64, 8)):
        convolutions = n * (4 * w * w + 9 * w * w + w * 4 * w) - (4 * w - given) * w
        projection = given * 4 * w
        parameters += convolutions + projection
        products += (convolutions + projection) * side**2
        inner = 2 * n * w
        if pre_activated:  # a norm precedes each convolution; that of the first convolution is counted above
            norms += inner + given + (n - 1) * 4 * w - (16 if w == 16 else 0)
        else:  # a norm follows each convolution and projection
            norms += inner + n * 4 * w + 4 * w
        given = 4 * w
    norms += given if pre_activated else 0  # a norm follows the last block
    return parameters + 2 * norms + (given + 1) * 10, products + given * 10


@pytest.mark.parametrize(("depth", "millions"), [(164, "1.7"), (1001, "10.3")])
@pytest.mark.parametrize("name", ["preresnet_bottleneck", "resnet_bottleneck"])
def test_cost_of_bottlenecks(name, depth, millions):
    network = build(name, depth)
    parameters, products = bottleneck_cost(depth, name.startswith("pre"))
    assert count_parameters(network) == parameters
    assert f"{parameters / 1e6:.1f}" == millions
    assert count_multiply_adds(network, (3, 32, 32)) == products


@pytest.mark.parametrize("order", ORDERS)
def test_every_order_costs_the_same(order):
    """Moving norms and activations costs nothing (He et al. 2016, Table 2)."""
    network = build("resnet", 110, order=order)
    assert count_parameters(network) == 1_727_962
    assert len([m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]) == 109
    assert f"{count_multiply_adds(network, (3, 8, 8)) / 1e6:.1f}" == "15.8"  # a 16th of the pixels of 32x32


def test_the_family_decides_whether_110_layers_are_basic_blocks_or_bottlenecks():
    basic, bottleneck = build("preresnet", 110), build("preresnet_bottleneck", 110)
    assert [len(network.blocks()) for network in (basic, bottleneck)] == [54, 36]
    assert [len(network.weighted_layers()) for network in (basic, bottleneck)] == [110, 110]
    assert (basic.fc.in_features, bottleneck.fc.in_features) == (64, 256)


@pytest.mark.parametrize("twins", TWINS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"shortcut": "C", "gate": "exclusive"},
        {"gate": "shortcut_only", "norm": "none", "init": "orthogonal"},
        {"order": "norm_after_addition", "shortcut": "B"},
        {"order": "act_only_pre", "shortcut_dropout": 0.5, "bottleneck_stride": "3x3"},
        {"order": "act_before_addition", "shortcut_scale": 0.5, "branch_scale": 0.5},
    ],
)
def test_twins_share_all_but_the_shortcut(twins, options):
    plain, residual = (build(name, 20, width=4, **options) for name in twins)
    shared = [
        {key: value for key, value in network.state_dict().items() if ".shortcut." not in key}
        for network in (plain, residual)
    ]
    gates = {key for key in shared[1] if ".gate." in key}
    assert list(shared[0]) == [key for key in shared[1] if key not in gates]
    assert bool(gates) == ("gate" in options)
    assert all(torch.equal(value, shared[1][key]) for key, value in shared[0].items())
    assert not torch.equal(plain(images(4, 3, 8, 8)), residual(images(4, 3, 8, 8)))


@pytest.mark.parametrize("name", ["plain", "preplain_bottleneck"])
def test_a_plain_network_ignores_options_of_shortcuts(name):
    of_shortcuts = {"gate": "exclusive", "gate_bias": 1.0, "shortcut": "C", "shortcut_dropout": 0.5}
    of_shortcuts |= {"shortcut_scale": 0.1, "branch_scale": 0.1}
    bare, other = build(name, 20), build(name, 20, **of_shortcuts)
    assert list(bare.state_dict()) == list(other.state_dict())
    assert torch.equal(bare(images(4, 3, 8, 8)), other(images(4, 3, 8, 8)))


def test_the_network_of_the_paper_has_not_changed():
    """Compare weights and logits with those of the first version (14 layers, 4 channels)."""
    pixels = torch.linspace(-1, 1, 2 * 3 * 8 * 8).reshape(2, 3, 8, 8)
    logits = {
        ("plain", "A"): [0.8054851, 0.8536558, 0.1357862],
        ("resnet", "A"): [3.6268592, 0.8252457, 0.6537589],
        ("resnet", "C"): [0.4820791, -0.0383399, 0.6520199],
    }
    for (name, shortcut), expected in logits.items():
        network = build(name, 14, shortcut=shortcut, width=4, num_classes=3)
        first, last = network.conv1.weight[0, 0, 0].tolist(), network.fc.weight[0, :3].tolist()
        assert first == pytest.approx([-0.3064148, -0.3136327, -0.0681989], abs=1e-6)
        assert last == pytest.approx([0.1168882, -0.6435019, -0.1107393], abs=1e-6)
        assert network(pixels)[0].tolist() == pytest.approx(expected, abs=1e-4)


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


def test_a_plain_network_without_branches_ignores_its_input():
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
    pointwise = {n: m for n, m in network.named_modules() if getattr(m, "kernel_size", None) == (1, 1)}
    assert len(pointwise) == projections
    assert count_parameters(network) == parameters
    strided = ["stages.1.0.shortcut.0", "stages.2.0.shortcut.0"]
    assert [name for name, m in pointwise.items() if m.stride == (2, 2)] == (strided if projections else [])
    assert network(images(1, 3, 8, 8)).shape == (1, 10)
    assert count_parameters(build("plain", 20, shortcut=shortcut)) == 269_722


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 21}, "use 20 or 26"),
        ({"shortcut": "b"}, "should be A, B or C"),
        ({"order": "pre"}, "order = 'pre': should be original, norm_after_addition, "),
        ({"gate": "open"}, "gate = 'open': should be none, exclusive or shortcut_only"),
        ({"bottleneck_stride": "2x2"}, "should be 1x1 or 3x3"),
    ],
)
def test_an_impossible_network_is_refused(name, options, message):
    with pytest.raises(BadInput, match=message):
        build(name, **options)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet", {}),
        ("resnet", {"shortcut": "C", "gate": "exclusive"}),
        ("preresnet", {"norm": "none"}),
        ("preresnet_bottleneck", {"shortcut": "C"}),
    ],
)
def test_weighted_layers_are_those_of_the_forward_pass_in_its_order(name, options):
    network = build(name, 20, **options)
    layers = network.weighted_layers()
    called = []
    for path, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and "shortcut" not in path and "gate" not in path:
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


def test_a_response_is_the_norms_right_after_a_layer_or_else_the_layers_own():
    expected = {
        "original": ["norm1", "norm2", "norm3"],
        "norm_after_addition": ["norm1", "norm2", "conv3"],
        "act_before_addition": ["norm1", "norm2", "norm3"],
        "act_only_pre": ["norm1", "norm2", "norm3"],
        "full_pre": ["norm2", "norm3", "conv3"],
    }
    for order, names in expected.items():
        network = build("resnet_bottleneck", 11, width=4, order=order)
        first, *_, a, b, c, _ = network.weighted_layers()
        block = network.stages[2][0]
        assert [a.response, b.response, c.response] == [getattr(block, name) for name in names]
        assert first.response is network.norm1


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
    for name in ("resnet", "preresnet", "preresnet_bottleneck"):
        network = build(name, 20, in_channels=1, num_classes=5, gate="exclusive")
        assert network(images(2, 1, size, size)).shape == (2, 5)


@pytest.mark.parametrize("name", ["resnet", "preresnet", "resnet_bottleneck"])
def test_stochastic_depth_has_the_weights_of_the_network_and_no_gradient_in_dropped_branches(name):
    network, always = build(name, 20, width=4, survival=1e-9), build(name, 20, width=4)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), always.parameters(), strict=True))
    F.cross_entropy(network(images(4, 3, 8, 8)), torch.arange(4)).backward()
    last = network.blocks()[-1]  # its branch never survives
    assert all(not p.grad.any() for conv in last.convolutions for p in conv.parameters())
    assert network.conv1.weight.grad.any()
    survivals = [block.branch_end[0].survival for block in network.blocks()]
    assert survivals == pytest.approx(
        [1 - k / len(survivals) for k in range(1, len(survivals) + 1)], abs=1e-8
    )
    x = images(2, 3, 8, 8)
    assert torch.equal(build(name, 20, width=4, survival=1.0).eval()(x), always.eval()(x))


def test_evaluation_multiplies_a_branch_by_its_survival():
    block = build("resnet", width=4, norm="none", survival=0.4, survival_rule="constant").stages[0][0].eval()
    x = images(2, 4, 8, 8)
    branch = block.conv2(F.relu(block.conv1(x)))
    torch.testing.assert_close(block(x), F.relu(x + 0.4 * branch))
