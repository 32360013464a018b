import pytest
import torch
import torch.nn.functional as F

from depthbench.errors import BadInput
from depthbench.networks import NETWORKS
from depthbench.networks.checkpointing import recompute_activations
from depthbench.networks.cost import count_multiply_adds, count_parameters
from depthbench.networks.options import CHOICES
from depthbench.networks.products import products_of
from depthbench.probes import DEFAULT, PROBES
from depthbench.probes.recorder import Recorder

FAMILIES = ["plain_transformer", "transformer"]
SHAPE = (3, 8, 8)


def build(name, depth=2, seed=0, **options):
    torch.manual_seed(seed)
    return NETWORKS[name](depth=depth, in_channels=3, num_classes=5, **{"width": 16} | options)


def images(batch=4):
    return torch.randn(batch, *SHAPE, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(("depth", "placement"), [(1, "pre"), (3, "post")])
def test_parameters_and_multiply_adds_by_formula(name, depth, placement):
    width, hidden, patch, classes, tokens = 16, 24, 2, 5, 16
    options = {"placement": placement, "mlp_ratio": 1.5, "heads": 2}
    network = build(name, depth, **options)
    maps = 4 * width**2 + 2 * width * hidden
    biases, norms = 4 * width + hidden + width, 4 * width
    pixels = 3 * patch**2
    ends = pixels * width + width + 2 * width * (placement == "pre") + classes * (width + 1)
    assert count_parameters(network) == depth * (maps + biases + norms) + ends
    scores_and_sums = 2 * tokens**2 * width  # of all heads
    expected = tokens * pixels * width + depth * (tokens * maps + scores_and_sums) + classes * width
    assert count_multiply_adds(network, SHAPE) == expected
    with products_of(network) as counted, torch.no_grad():
        network(images(1))
    assert counted.total == expected


@pytest.mark.parametrize(
    "options", [{"placement": each} for each in CHOICES["placement"]] + [{"learned_scale": "channels"}]
)
def test_twins_are_equal_bit_for_bit_at_step_0(options):
    plain, residual = (dict(build(name, **options).named_parameters()) for name in FAMILIES)
    added = {name for name in residual if "shortcut" in name}
    assert bool(added) == ("learned_scale" in options)
    assert list(plain) == [name for name in residual if name not in added]
    assert all(torch.equal(plain[key], residual[key]) for key in plain)


@pytest.mark.parametrize("name", FAMILIES)
def test_deepnorm_scales_the_weights_of_values_outputs_and_mlps(name):
    depth = 2
    normal, scaled = (
        dict(build(name, depth, init="xavier", placement=placement).named_parameters())
        for placement in ("post", "deepnorm")
    )
    factors = {key: (scaled[key] / normal[key]).mean().item() for key in normal if normal[key].dim() > 1}
    expected = {
        key: pytest.approx(0.5 if key.split(".")[-2] in ("value", "output", "linear1", "linear2") else 1.0)
        for key in factors
    }
    assert factors == expected  # (8 * 2)^(-1/4) = 1/2


def test_layer_scale_begins_as_small_as_its_paper_says():
    scales = [
        p
        for name, p in build("transformer", learned_scale="channels").named_parameters()
        if "shortcut" in name
    ]
    assert [scale.shape for scale in scales] == [(16,)] * 4
    assert all(torch.equal(scale, torch.full((16,), 0.1)) for scale in scales)


def test_logits_are_those_of_the_mean_token():
    network, x = build("transformer"), images()
    torch.testing.assert_close(network(x), network.encoder(network.patches(x)).mean(1) @ network.fc.weight.T)


@pytest.mark.parametrize("name", FAMILIES)
def test_layers_are_named_by_block_and_sub_layer_in_the_order_of_their_use(name):
    network, called = build(name), []
    layers = network.weighted_layers()
    names = [f"attention.{each}" for each in ("query", "key", "value", "output")] + [
        "mlp.linear1",
        "mlp.linear2",
    ]
    expected = [f"encoder.blocks.{b}.{each}" for b in range(2) for each in names]
    assert [layer.name for layer in layers] == ["patches.embed", *expected, "fc"]
    for layer in layers:
        assert network.get_submodule(layer.name) is layer.weighted is layer.response
        layer.weighted.register_forward_hook(lambda module, inputs, output: called.append(module))
    network(images())
    assert called == [layer.weighted for layer in layers]


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("placement", CHOICES["placement"])
def test_gradients_reach_every_weight(name, placement):
    network = build(name, placement=placement)
    F.cross_entropy(network(images()), torch.arange(4)).backward()
    assert all(layer.weighted.weight.grad.any() for layer in network.weighted_layers())


@pytest.mark.parametrize("name", FAMILIES)
def test_every_probe_of_layers_measures_every_layer(name):
    network = build(name)
    recorder = Recorder(network, {each: PROBES[each].load() for each in DEFAULT})
    with recorder:
        F.cross_entropy(network(images()), torch.arange(4)).backward()
        assert recorder.values().isfinite().all()
    assert recorder.reasons == {}


def test_activations_computed_again_give_the_same_gradients():
    gradients = []
    for again in (False, True):
        network = build("transformer", depth=6, dropout=0.2, survival=0.5)
        if again:
            recompute_activations(network, (4, *SHAPE))
        torch.manual_seed(1)
        F.cross_entropy(network(images()), torch.arange(4)).backward()
        gradients.append([p.grad for p in network.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(BadInput, match="heads = 3 does not divide width = 16; use 2 or 4 heads"):
        build("transformer", heads=3)


def test_twins_run_end_to_end_and_are_matched(tiny, trained):
    study = tiny(
        grid={"network": FAMILIES, "depth": [2]},
        options={"width": 32},
        recipe={"steps": 60, "batch_size": 32, "pad": 0, "optimizer": "adamw", "lr": 0.003},
        probe={"names": ["grad_norm_preact", "attention_entropy"], "steps": [0]},
    )
    records = [trained(run)[0] for run in study.runs()]
    assert [record.status for record in records] == ["done", "done"]
    for key in ("initial_weights", "batches"):
        assert len({getattr(record.hashes, key) for record in records}) == 1
    assert max(record.final.train_error_eval for record in records) < 75  # chance is 90
