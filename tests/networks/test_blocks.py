"""Compare every block with its equation, computed part by part and not in place."""

import copy
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from depthbench.networks import NETWORKS
from depthbench.networks.blocks import ORDERS
from depthbench.networks.checkpointing import Recomputed, may_draw_random_numbers
from depthbench.networks.components import ACTIVATIONS, OUT_OF_PLACE, Nonlinearity
from depthbench.networks.fusing import fuse

RELU = Nonlinearity(ACTIVATIONS["relu"], OUT_OF_PLACE["relu"])

# y: input of the block. h(y): output of the shortcut. g(F): the branch F after scale and gate.
BASIC = {
    "original": lambda b, y, h, g: F.relu(g(b.norm2(b.conv2(F.relu(b.norm1(b.conv1(y)))))) + h(y)),
    "norm_after_addition": lambda b, y, h, g: F.relu(b.norm2(g(b.conv2(F.relu(b.norm1(b.conv1(y))))) + h(y))),
    "act_before_addition": lambda b, y, h, g: g(F.relu(b.norm2(b.conv2(F.relu(b.norm1(b.conv1(y))))))) + h(y),
    "act_only_pre": lambda b, y, h, g: g(b.norm2(b.conv2(F.relu(b.norm1(b.conv1(F.relu(y))))))) + h(y),
    "full_pre": lambda b, y, h, g: g(b.conv2(F.relu(b.norm2(b.conv1(F.relu(b.norm1(y))))))) + h(y),
}
BOTTLENECK = {
    "original": lambda b, y, h, g: F.relu(
        g(b.norm3(b.conv3(F.relu(b.norm2(b.conv2(F.relu(b.norm1(b.conv1(y))))))))) + h(y)
    ),
    "full_pre": lambda b, y, h, g: (
        g(b.conv3(F.relu(b.norm3(b.conv2(F.relu(b.norm2(b.conv1(F.relu(b.norm1(y)))))))))) + h(y)
    ),
}
ACTIVATED = {"act_only_pre": lambda b, y: F.relu(y), "full_pre": lambda b, y: F.relu(b.norm1(y))}


def build(name="resnet", depth=20, seed=0, width=4, **options):
    torch.manual_seed(seed)
    return NETWORKS[name](depth=depth, width=width, **options)


def maps(channels, seed=0):
    return torch.randn(3, channels, 8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def written_out(block, y, order, equations=BASIC, *, options):
    """Return the output (B, C_out, H/stride, W/stride) of a block with `options` for its input y."""
    plain_shortcut = block.conv1.in_channels == block.convolutions[-1].out_channels
    plain_shortcut = plain_shortcut and options.get("shortcut") != "C"
    taken = y if plain_shortcut or order not in ACTIVATED else ACTIVATED[order](block, y)
    gate = getattr(block, "gate", None)
    g = None if gate is None else torch.sigmoid(F.conv2d(taken, gate.weight, gate.bias, gate.stride))
    opened = 1 if g is None else 1 - g

    def shortcut(_):
        return options.get("shortcut_scale", 1) * opened * block.shortcut(taken)

    def branch(z):
        z = options.get("branch_scale", 1) * z
        return g * z if options.get("gate") == "exclusive" else z

    return equations[order](block, y, shortcut, branch)


def assert_as_written(block, channels, order, equations=BASIC, **options):
    """Check the output and the gradients of the input and of every parameter against the equation."""
    block, x = block.double().train(), maps(channels).requires_grad_()
    weights = maps(1, seed=1)  # weights of the pixels, because their plain sum has no gradient after a norm
    seen = []
    for compute in (
        lambda x: block(x),
        lambda x: written_out(block, x, order, equations, options=options),
    ):
        y = compute(1 * x)
        (y.square() * weights[..., : y.shape[2], : y.shape[3]]).sum().backward()
        inputs = [x, *block.parameters()]
        assert all(tensor.grad is not None for tensor in inputs)
        seen.append([y, *(tensor.grad.clone() for tensor in inputs)])
        for tensor in inputs:
            tensor.grad = None
    for ours, expected in zip(*seen, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("shortcut", ["A", "B", "C"])
@pytest.mark.parametrize("gate", ["none", "exclusive", "shortcut_only"])
def test_a_basic_block_is_its_equation(order, shortcut, gate):
    for norm, scales in product(("batch", "none"), ({}, {"shortcut_scale": 0.5, "branch_scale": 0.25})):
        options = {"shortcut": shortcut, "gate": gate} | scales
        network = build(order=order, norm=norm, gate_bias=-0.3, **options)
        assert_as_written(network.stages[0][1], 4, order, **options)
        assert_as_written(network.stages[1][0], 4, order, **options)


@pytest.mark.parametrize("order", BOTTLENECK)
@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("stride", ["1x1", "3x3"])
def test_a_bottleneck_is_its_equation(order, norm, stride):
    network = build("resnet_bottleneck", 29, order=order, norm=norm, bottleneck_stride=stride)
    assert_as_written(network.stages[0][1], 16, order, BOTTLENECK)
    assert_as_written(network.stages[1][0], 16, order, BOTTLENECK)


@pytest.mark.parametrize("activation", ["tanh", "silu", "elu", "identity"])
@pytest.mark.parametrize("order", ORDERS)
def test_derivatives_are_those_of_the_function(order, activation):
    """This includes activations whose derivative needs their input or their output."""
    network = build(
        order=order, activation=activation, gate="exclusive", gate_bias=0.0, norm="group", width=8
    )
    block = network.stages[1][0].double()
    x = torch.randn(1, 8, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.autograd.gradcheck(block, x.requires_grad_())


@pytest.mark.parametrize("order", ["act_only_pre", "full_pre"])
def test_the_first_block_gets_an_activated_input(order):
    block = build(order=order).stages[0][0].double()
    x = maps(4)
    branch = block.conv2(F.relu((block.norm1 if order == "act_only_pre" else block.norm2)(block.conv1(x))))
    branch = block.norm2(branch) if order == "act_only_pre" else branch
    torch.testing.assert_close(block(x), branch + x)


def test_a_block_leaves_its_input_as_it_is():
    for order, norm, index in product(ORDERS, ("batch", "none"), (0, 1)):
        x = maps(4)
        build(order=order, norm=norm).double().stages[index][1 - index](x)
        assert torch.equal(x, maps(4))


@pytest.mark.parametrize("strided", ["1x1", "3x3"])
def test_which_convolution_of_a_bottleneck_shrinks_the_map(strided):
    block = build("resnet_bottleneck", 11, bottleneck_stride=strided).stages[1][0]
    shapes = [(c.in_channels, c.out_channels, c.kernel_size[0]) for c in block.convolutions]
    assert shapes == [(16, 8, 1), (8, 8, 3), (8, 32, 1)]
    strides = [c.stride[0] for c in block.convolutions]
    assert strides == ([2, 1, 1] if strided == "1x1" else [1, 2, 1])


@pytest.mark.parametrize("gate", ["exclusive", "shortcut_only"])
def test_a_shut_gate_leaves_the_identity_shortcut(gate):
    shut, usual = build(gate=gate, gate_bias=float("-inf")), build()
    x = maps(3).float()
    if gate == "shortcut_only":
        assert torch.equal(shut(x), usual(x))
    for block in usual.blocks():  # a shut exclusive gate removes the branch
        nn.init.zeros_(block.norm2.weight)
    if gate == "exclusive":
        assert torch.equal(shut(x), usual(x))


def test_the_gate_starts_at_its_bias():
    gates = [block.gate for block in build(gate="exclusive", gate_bias=-7.0, width=64).blocks()]
    assert len(gates) == 9
    for gate in gates:
        assert gate.bias.eq(-7).all()
        assert gate.weight.var().item() == pytest.approx(2 / gate.in_channels, rel=0.1)  # He et al.
    assert build(gate="exclusive").blocks()[0].gate.bias.eq(-6).all()


def test_a_dropped_shortcut_is_a_scale_of_a_half_on_average_and_in_evaluation():
    network = build(shortcut_dropout=0.5, norm="none")
    block, x = network.stages[0][1].double(), maps(4)
    nn.init.zeros_(block.conv2.weight)  # the branch adds nothing
    assert torch.equal(block.eval()(x), F.relu(x) / 2)
    y = block.train()(x)
    kept = y != 0
    assert torch.equal(y[kept], F.relu(x)[kept])
    assert 0.4 < kept.sum() / (x > 0).sum() < 0.6


def test_dropout_of_a_block_says_whether_it_draws_random_numbers():
    for options in ({"dropout": 0.1}, {"shortcut_dropout": 0.1}):
        assert may_draw_random_numbers(build("resnet", 8, **options).blocks())
    assert not may_draw_random_numbers(build("resnet", 8).blocks())
    assert not may_draw_random_numbers(build("plain", 8, shortcut_dropout=0.1).blocks())


def steps_of(network):
    """Return what two steps produce: losses, gradients, parameters and running statistics."""
    optimizer = torch.optim.SGD(network.parameters(), 0.05)
    torch.manual_seed(1)  # masks of dropout
    seen = []
    for step in range(2):
        optimizer.zero_grad()
        loss = F.cross_entropy(network(maps(3, step).float()), torch.arange(3))
        loss.backward()
        seen += [loss.detach(), *(parameter.grad.clone() for parameter in network.parameters())]
        optimizer.step()
    return [*seen, *network.state_dict().values(), torch.get_rng_state()]


VARIANTS = [
    *(("resnet", {"order": order, "norm": norm}) for order in ORDERS for norm in ("batch", "none")),
    ("resnet", {"gate": "exclusive", "gate_bias": -1.0}),
    ("resnet", {"gate": "shortcut_only", "shortcut_dropout": 0.5}),
    ("resnet", {"shortcut_scale": 0.5, "branch_scale": 0.5}),
    ("preresnet_bottleneck", {}),
    ("resnet_bottleneck", {"shortcut": "C", "dropout": 0.2}),
    ("preplain", {"branch_scale": 0.5}),
    *((name, {}) for name in ("rezero", "layerscale", "fixup", "nf_resnet", "diracnet", "repvgg")),
    ("plain", {"norm": "none", "init": "delta_orthogonal", "activation": "leaky_relu", "tat_eta": 0.5}),
]


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_recomputation_gives_the_same_bits(name, options):
    usual, saving = build(name, **options), build(name, **options)
    saving.run_blocks = Recomputed(2)
    for a, b in zip(steps_of(usual), steps_of(saving), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(("name", "options"), [v for v in VARIANTS if "shortcut_dropout" not in v[1]])
def test_a_fused_block_computes_the_same(name, options):
    network = build(name, 11 if "bottleneck" in name else 8, **options).double()
    fused = copy.deepcopy(network)
    fuse(fused, backend="aot_eager")
    seen = []
    for each in (network, fused):
        torch.manual_seed(0)
        loss = F.cross_entropy(each(maps(3)), torch.arange(3))
        loss.backward()
        seen.append([loss, *(parameter.grad for parameter in each.parameters()), *each.buffers()])
    for a, b in zip(*seen, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_every_order_normalises_and_activates_once_for_each_convolution(order):
    convolutions = [nn.Conv2d(4, 4, 3, padding=1) for _ in range(2)]
    block, calls = order(convolutions, "batch", RELU, is_first=False), []

    def activate(y):
        calls.append("A")
        return F.relu(y)

    block.activation = block.first_activation = activate
    for kind, modules in (("N", block.norms), ("C", block.convolutions)):
        for module in modules:
            module.register_forward_hook(lambda *_, kind=kind: calls.append(kind))
    block(maps(4).float())
    assert sorted(calls) == list("AACCNN")
    first, last = calls.index("C"), len(calls) - 1 - calls[::-1].index("C")
    assert calls[first + 1 : last] == ["N", "A"]


@pytest.mark.parametrize("bottleneck", ["", "_bottleneck"])
@pytest.mark.parametrize("norm", ["batch", "none"])
def test_without_an_addition_all_orders_are_one_network(bottleneck, norm):
    """He et al. 2016, sec. 4.1: in a plain network, pre- and post-activation are the same."""
    seen = []
    for order in ORDERS:
        network = build(f"plain{bottleneck}", norm=norm, order=order)
        seen.append(network(torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))))
    assert all(torch.equal(logits, seen[0]) for logits in seen)


def test_the_first_activation_leaves_what_a_shortcut_carries_as_it_is():
    for name in ("act_only_pre", "full_pre"):
        for norm in ("batch", "none"):
            _, activation = ORDERS[name].head(norm, RELU, 4)
            in_place = activation is ACTIVATIONS["relu"]
            assert in_place == (name == "full_pre" and norm == "batch")


@pytest.mark.parametrize("order", ["original", "norm_after_addition", "act_before_addition"])
def test_the_other_orders_have_nothing_before_the_first_convolution(order):
    norm, activation = ORDERS[order].head("batch", RELU, 4)
    x = -maps(4)
    assert isinstance(norm, nn.Identity)
    assert activation(x) is x
