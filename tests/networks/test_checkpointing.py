import copy
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from depthbench.errors import BadInput
from depthbench.networks import NETWORKS
from depthbench.networks.checkpointing import (
    Recomputed,
    in_turn,
    may_draw_random_numbers,
    recompute_activations,
)
from depthbench.probes import DEFAULT, PROBES
from depthbench.probes.recorder import Recorder


def build(name="resnet", depth=20, **options):
    torch.manual_seed(0)
    return NETWORKS[name](depth=depth, width=4, **options)


def batch(step, images=6):
    generator = torch.Generator().manual_seed(step)
    return torch.randn(images, 3, 8, 8, generator=generator), torch.arange(images)


def train(network, steps=3):
    """Return the results of some steps: losses, gradients, probes, and the final state."""
    recorder = Recorder(network, {name: PROBES[name].load() for name in DEFAULT})
    optimizer = torch.optim.SGD(network.parameters(), 0.05, momentum=0.9)
    torch.manual_seed(1)  # masks of dropout
    seen = []
    for step in range(steps):
        x, y = batch(step)
        optimizer.zero_grad()
        with recorder:
            loss = F.cross_entropy(network(x), y)
            loss.backward()
            seen += [loss.detach(), recorder.values()]
        seen += [parameter.grad.clone() for parameter in network.parameters()]
        optimizer.step()
    return [*seen, *network.state_dict().values(), torch.get_rng_state()]


def kept_bytes(network):
    """Return the bytes that a forward pass keeps for the backward pass."""
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    x, y = batch(0)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        F.cross_entropy(network(x), y)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize("length", [1, 4, 100])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("plain", {}),
        ("resnet", {}),
        ("resnet", {"dropout": 0.3}),
        ("plain", {"dropout": 0.3, "norm": "group"}),
        ("resnet", {"shortcut": "C", "norm": "none"}),
    ],
)
def test_recomputation_gives_the_same_bits(name, options, length):
    usual, saving = build(name, **options), build(name, **options)
    saving.run_blocks = Recomputed(length)
    for a, b in zip(train(usual), train(saving), strict=True):
        assert torch.equal(a.nan_to_num(), b.nan_to_num())


def test_recomputation_changes_no_name_in_the_state():
    usual, saving = build(), build()
    recompute_activations(saving, (6, 3, 8, 8))
    assert list(saving.state_dict()) == list(usual.state_dict())
    assert [n for n, _ in saving.named_modules()] == [n for n, _ in usual.named_modules()]
    copy.deepcopy(saving).load_state_dict(usual.state_dict())


def test_recomputation_under_autocast():
    results = []
    for network in (build(), build()):
        if results:
            recompute_activations(network, (6, 3, 8, 8))
        x, y = batch(0)
        with torch.autocast("cpu", torch.bfloat16):
            loss = F.cross_entropy(network(x), y)
        loss.backward()
        results.append([loss.detach(), *(p.grad for p in network.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_turning_on_recomputation_changes_neither_the_network_nor_the_random_numbers():
    network = build(dropout=0.3)
    before, random = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    recompute_activations(network, (6, 3, 8, 8))
    assert network.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)


def test_recomputation_keeps_a_tenth_of_the_activations():
    network = build(depth=110)
    usual = kept_bytes(network)
    length = recompute_activations(network, (6, 3, 8, 8))
    assert 1 < length < 54
    assert kept_bytes(network) < usual / 10


def test_in_evaluation_and_without_gradients_nothing_is_recomputed(monkeypatch):
    network = build()
    recompute_activations(network, (6, 3, 8, 8))
    called = []
    monkeypatch.setattr(
        "depthbench.networks.checkpointing.checkpoint",
        lambda function, *arguments, **how: called.append(function) or function(*arguments),
    )
    network.eval()(batch(0)[0])
    with torch.no_grad():
        network.train()(batch(0)[0])
    assert called == []
    network(batch(0)[0])
    assert called


def test_a_network_without_blocks_cannot_be_recomputed():
    with pytest.raises(BadInput, match=r"Sequential cannot be recomputed: it has no blocks\(\)"):
        recompute_activations(nn.Sequential(nn.Linear(1, 1)), (2, 1, 1, 1))


def test_a_block_without_dropout_attribute_may_draw_random_numbers():
    assert not may_draw_random_numbers([SimpleNamespace(dropout=0.0)])
    assert may_draw_random_numbers([SimpleNamespace(dropout=0.0), SimpleNamespace(dropout=0.1)])
    assert may_draw_random_numbers([nn.Linear(1, 1)])


def test_in_turn_calls_each_block_on_the_last_output():
    assert in_turn([lambda x: x + 1, lambda x: 2 * x], 3) == 8
