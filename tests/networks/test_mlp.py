import pytest
import torch
import torch.nn.functional as F
from torch import nn

from depthbench.errors import BadInput
from depthbench.networks import NETWORKS
from depthbench.networks.checkpointing import recompute_activations
from depthbench.networks.components import ACTIVATIONS
from depthbench.networks.cost import count_multiply_adds, count_parameters
from depthbench.networks.mlp import make_unit_norm
from depthbench.networks.options import CHOICES

FAMILIES = ["plain_mlp", "resnet_mlp"]
NORMS = CHOICES["norm"]
SHAPE = (3, 4, 5)  # 60 pixels


def build(name, depth=8, seed=0, in_channels=60, num_classes=10, **options):
    torch.manual_seed(seed)
    return NETWORKS[name](depth=depth, in_channels=in_channels, num_classes=num_classes, **options)


def images(batch=4, seed=0):
    return torch.randn(batch, *SHAPE, generator=torch.Generator().manual_seed(seed))


def test_plain_without_norm_is_a_chain_of_maps_and_activations():
    network, x = build("plain_mlp", depth=6, width=7, norm="none"), images()
    *hidden, classifier = [layer.weighted for layer in network.weighted_layers()]
    y = x.flatten(1)
    for linear in hidden:
        y = F.relu(y @ linear.weight.T + linear.bias)
    assert len(hidden) == 5
    torch.testing.assert_close(network(x), y @ classifier.weight.T + classifier.bias)


def test_residual_adds_the_scaled_branch_to_its_input():
    network, x = build("resnet_mlp", depth=6, width=7, norm="none", branch_scale=0.5), images()
    first, *maps, classifier = [layer.weighted for layer in network.weighted_layers()]
    y = first(x.flatten(1))
    for one, two in zip(maps[::2], maps[1::2], strict=True):
        y = y + 0.5 * two(F.relu(one(F.relu(y))))
    torch.testing.assert_close(network(x), classifier(F.relu(y)))


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(("depth", "n"), [(4, 1), (20, 9)])
def test_parameters_and_multiply_adds_by_formula(name, depth, n):
    width, pixels, classes = 16, 60, 5
    maps = width * pixels + 2 * n * width**2 + classes * width
    norms = 2 * width * (2 * n + 1)
    normed, bare = (build(name, depth, num_classes=classes, width=width, norm=k) for k in ("batch", "none"))
    assert count_parameters(normed) == maps + norms + classes
    assert count_parameters(bare) == maps + width * (2 * n + 1) + classes  # biases of the maps
    assert count_multiply_adds(normed, SHAPE) == maps


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"norm": "none", "init": "normal:0.01", "dropout": 0.3},
        {"norm": "group", "width": 24},
        {"norm": "layer", "activation": "gelu", "init": "orthogonal"},
        {"init": "xavier", "branch_scale": 0.1},
    ],
)
def test_twins_are_equal_bit_for_bit_at_step_0(options):
    plain, residual = (dict(build(name, **options).named_parameters()) for name in FAMILIES)
    assert list(plain) == list(residual)
    assert all(torch.equal(plain[key], residual[key]) for key in plain)


def test_another_seed_gives_other_weights():
    assert not torch.equal(build("plain_mlp").input.weight, build("plain_mlp", seed=1).input.weight)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_reach_every_weight_with_every_norm_and_activation(name, norm, activation):
    network = build(name, depth=4, width=16, norm=norm, activation=activation)
    F.cross_entropy(network(images()), torch.arange(4)).backward()
    without = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert without == []
    assert all(layer.weighted.weight.grad.any() for layer in network.weighted_layers())


def test_batch_norm_works_on_each_unit_of_the_batch_and_the_others_on_each_image_alone():
    x = 3 + 2 * torch.randn(6, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(make_unit_norm("batch", 16)(x).mean(0), torch.zeros(16), rtol=0, atol=1e-5)
    groups = {"layer": 1, "group": 2}
    for name, count in groups.items():
        y = make_unit_norm(name, 16)(x).reshape(6, count, -1)
        torch.testing.assert_close(y.mean(2), torch.zeros(6, count), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("norm", ["batch", "none"])
def test_weighted_layers_are_those_of_the_forward_pass_in_its_order(name, norm):
    network = build(name, depth=10, norm=norm)
    layers, called = network.weighted_layers(), []
    for module in network.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(lambda module, inputs, output: called.append(module))
    network(images())
    assert called == [layer.weighted for layer in layers]
    assert [layer.stage for layer in layers] == ["input", *"11111111", "fc"]
    modules = dict(network.named_modules())
    assert all(modules[layer.name] is layer.weighted for layer in layers)


def test_a_response_is_the_output_of_the_next_norm_unless_an_addition_comes_first():
    plain, residual, bare = build(FAMILIES[0]), build(FAMILIES[1]), build(FAMILIES[1], norm="none")
    for network in (plain, residual):
        one, two = network.weighted_layers()[1:3]
        block, after = network.hidden[:2]
        assert network.weighted_layers()[0].response is block.norm1
        assert one.response is block.norm2
        assert two.response is (after.norm1 if network is plain else block.linear2)
    assert plain.weighted_layers()[-2].response is plain.norm
    assert all(layer.response is layer.weighted for layer in bare.weighted_layers())


@pytest.mark.parametrize("name", FAMILIES)
def test_dropout_is_between_the_maps_and_only_in_training(name):
    network = build(name, norm="none", dropout=0.5)
    block, x = network.hidden[0], torch.randn(8, 256, generator=torch.Generator().manual_seed(0))
    seen = []
    block.linear2.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    block.eval()(x)
    block.train()(x)
    kept = seen[1] != 0
    assert torch.equal(seen[1][kept], 2 * seen[0][kept])
    assert 0.4 < kept.sum() / (seen[0] != 0).sum() < 0.6


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_activations_computed_again_give_the_same_gradients(norm):
    gradients = []
    for again in (False, True):
        network = build("resnet_mlp", depth=20, norm=norm, dropout=0.2)
        if again:
            assert recompute_activations(network, (4, *SHAPE)) > 1
        torch.manual_seed(1)
        F.cross_entropy(network(images()), torch.arange(4)).backward()
        gradients.append([p.grad for p in network.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


@pytest.mark.parametrize("name", FAMILIES)
def test_another_depth_is_refused(name):
    with pytest.raises(BadInput, match="; use 8 or 10"):
        build(name, depth=9)


def test_twins_run_end_to_end_and_are_matched(tiny, trained):
    study = tiny(
        grid={"network": FAMILIES}, options={"width": 64}, recipe={"steps": 60, "batch_size": 32, "pad": 0}
    )
    records = [trained(run)[0] for run in study.runs()]
    assert [record.status for record in records] == ["done", "done"]
    assert [record.weighted_layers for record in records] == [8, 8]
    assert records[0].image_shape == (1, 8, 8)
    for key in ("initial_weights", "batches"):
        assert len({getattr(record.hashes, key) for record in records}) == 1
    assert max(record.final.train_error_eval for record in records) < 20  # chance is 90
