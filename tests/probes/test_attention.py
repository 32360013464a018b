"""Attention as layers, compared with the same attention written out for autograd."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from depthbench.probes import DEFAULT, PROBES
from depthbench.probes.reasons import FROZEN, UNUSED
from depthbench.probes.recorder import Recorder

ALL = {name: PROBES[name].load() for name in DEFAULT}
LAYERS = ("q_proj", "k_proj", "v_proj", "out_proj")


def inputs(kind, sizes):
    """Query, key and value (positions, images, features)."""
    torch.manual_seed(1)
    query = torch.randn(3, 5, 8)
    if kind == "self":
        return query, query, query
    key = torch.randn(4, 5, sizes.get("kdim", 8))
    return query, key, key if kind == "memory" else torch.randn(4, 5, sizes.get("vdim", 8))


def by_hand(attention, uses):
    """Return the four probes of the four layers, from attention written out. `uses`: the inputs of each."""
    size, heads = attention.embed_dim, attention.num_heads
    packed = attention.in_proj_weight
    weights = (
        [getattr(attention, f"{name}_weight") for name in LAYERS[:3]]
        if packed is None
        else [part.detach().requires_grad_() for part in packed.split(size)]
    )
    weights.append(attention.out_proj.weight)
    biases = [None] * 4
    if attention.in_proj_bias is not None:
        biases = [*attention.in_proj_bias.split(size), attention.out_proj.bias]
    zs = {name: [] for name in LAYERS}
    loss = 0
    for given in uses:
        parts = []
        for name, x, weight, bias in zip(LAYERS, given, weights, biases, strict=False):
            z = nn.functional.linear(x, weight, bias)
            z.retain_grad()
            zs[name].append(z)
            parts.append(z.unflatten(-1, (heads, -1)).permute(1, 2, 0, 3))  # (images, heads, positions, ...)
        q, k, v = parts
        mixed = (q @ k.transpose(-1, -2) / math.sqrt(size // heads)).softmax(-1) @ v
        z = nn.functional.linear(mixed.permute(2, 0, 1, 3).flatten(-2), weights[3], biases[3])
        z.retain_grad()
        zs["out_proj"].append(z)
        loss = loss + z.square().sum()
    loss.backward()
    rows = []
    for name, weight in zip(LAYERS, weights, strict=True):
        gradients = torch.cat([z.grad.flatten() for z in zs[name]]).double()
        z = torch.cat([z.detach().flatten() for z in zs[name]]).double()
        norms = [weight.grad.double().norm(), gradients.norm(), weight.detach().double().norm()]
        rows.append([*norms, z.std(correction=0)])
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"kdim": 6, "vdim": 7}, {"batch_first": True}])
@pytest.mark.parametrize("kind", ["self", "memory", "three"])
@pytest.mark.parametrize("times", [1, 2])
def test_each_projection_is_measured_as_a_layer(options, kind, times):
    if kind == "self" and "kdim" in options:
        pytest.skip("the widths differ")
    if kind == "memory" and "kdim" in options:
        options = options | {"vdim": options["kdim"]}
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(8, 2, **options)
    if attention.in_proj_bias is not None:
        nn.init.normal_(attention.in_proj_bias)
    given = inputs(kind, options)
    uses = [tuple(x * (1 + use) for x in given) for use in range(times)]
    if kind == "self":
        uses = [(x, x, x) for x, *_ in uses]
    network = nn.ModuleDict({"a": attention})
    recorder = Recorder(network, ALL)
    assert [layer.name for layer in recorder.layers] == [f"a.{name}" for name in LAYERS]
    with recorder:
        for use in uses:
            if options.get("batch_first"):
                use = [x.transpose(0, 1) for x in use]
                use = [use[0]] * 3 if kind == "self" else use
            attention(*use)[0].square().sum().backward()
        values = recorder.values()
    assert recorder.reasons == {}
    attention.zero_grad()
    expected = by_hand(attention, uses)
    # dL/dk sums to nearly 0 over a softmax, so its last digits differ
    torch.testing.assert_close(values, expected, rtol=2e-5, atol=0)


def test_recording_does_not_change_attention():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0, batch_first=True)
    alone, x = copy.deepcopy(layer), torch.randn(4, 3, 8)
    recorder = Recorder(layer, ALL)
    with recorder:
        probed = layer(x)
        probed.square().sum().backward()
        values = recorder.values()
    expected = alone(x)
    expected.square().sum().backward()
    assert torch.equal(probed, expected)
    pairs = zip(layer.parameters(), alone.parameters(), strict=True)
    assert all(torch.equal(a.grad, b.grad) for a, b in pairs)
    assert values.gt(0).all()
    assert len(values) == 6  # four projections and two maps


@pytest.mark.parametrize("reentrant", [False, True])
def test_attention_that_is_computed_again_has_the_same_values(reentrant):
    def build():
        torch.manual_seed(0)
        return nn.TransformerDecoderLayer(8, 2, 16, dropout=0, batch_first=True)

    torch.manual_seed(1)
    x, memory = torch.randn(4, 3, 8, requires_grad=True), torch.randn(4, 5, 8)
    values = []
    for again in (False, True):
        recorder = Recorder(layer := build(), ALL)
        with recorder:
            y = checkpoint(layer, x, memory, use_reentrant=reentrant) if again else layer(x, memory)
            y.square().sum().backward()
            values.append(recorder.values())
        assert recorder.reasons == {}
    assert len(values[0]) == 10
    assert torch.equal(*values)


def test_frozen_and_unused_attention_have_their_reasons():
    network = nn.ModuleDict({name: nn.MultiheadAttention(8, 2) for name in ("frozen", "unused")})
    network["frozen"].requires_grad_(False)
    recorder = Recorder(network, ALL)
    x = torch.randn(3, 5, 8, requires_grad=True)
    with recorder:
        network["frozen"](x, x, x)[0].sum().backward()
        values = recorder.values()
    reasons = {
        f"{name}.{layer}": why for name, why in (("frozen", FROZEN), ("unused", UNUSED)) for layer in LAYERS
    }
    assert recorder.reasons == reasons
    assert values[:4, list(ALL).index("response_std")].gt(0).all()
    always = [not probe.needs_gradient for probe in ALL.values()]
    assert values[4:].isnan().tolist() == [[not each for each in always]] * 4


def test_the_fast_path_in_evaluation_changes_nothing():
    torch.manual_seed(0)
    network = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2).eval()
    recorder, x = Recorder(network, ALL), torch.randn(4, 3, 8)
    with torch.no_grad():
        network(x)  # no hooks outside of the context
    with recorder:
        with torch.no_grad():
            network(x)
        network(x.requires_grad_()).square().sum().backward()
        values = recorder.values()
    assert values.gt(0).all()
