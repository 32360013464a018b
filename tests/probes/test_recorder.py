import copy
import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from depthbench.networks import NETWORKS
from depthbench.probes import PROBES
from depthbench.probes.probe import Probe
from depthbench.probes.recorder import Recorder

ALL = {name: entry.load() for name, entry in PROBES.items()}
NAMES = ["grad_norm_weight", "grad_norm_preact", "weight_norm", "response_std"]


def build(name="plain", dtype=torch.float32, **options):
    torch.manual_seed(0)
    return NETWORKS[name](depth=8, width=4, **options).to(dtype)


def batch(dtype=torch.float32):
    torch.manual_seed(1)
    return torch.randn(6, 3, 8, 8, dtype=dtype), torch.arange(6)


def recorded(network, x, y, probes=ALL):
    recorder = Recorder(network, probes)
    with recorder:
        F.cross_entropy(network(x), y).backward()
        return recorder.values()


def by_hand(network, x, y):
    """Return the four probes (layers, 4) float64 of a CIFAR network, from a forward pass written out."""
    rows = []

    def layer(weighted, norm, x):
        z = weighted(x)
        z.retain_grad()
        response = norm(z)
        rows.append((weighted.weight, z, response))
        return response

    x = F.relu(layer(network.conv1, network.norm1, x))
    for stage in network.stages:
        for block in stage:
            branch = F.relu(layer(block.conv1, block.norm1, x))
            branch = layer(block.conv2, block.norm2, branch)
            x = F.relu(branch + block.shortcut(x)) if hasattr(block, "shortcut") else F.relu(branch)
    logits = layer(network.fc, nn.Identity(), x.mean((2, 3)))
    F.cross_entropy(logits, y).backward()

    def norm(x):
        return x.double().norm()

    with torch.no_grad():
        values = [[norm(w.grad), norm(z.grad), norm(w), r.double().std(correction=0)] for w, z, r in rows]
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("name", ["plain", "resnet"])
@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_equal_autograd_by_hand_to_the_last_digit(name, norm, dtype):
    network = build(name, dtype, norm=norm)
    values = recorded(network, *batch(dtype), {name: ALL[name] for name in NAMES})
    network.zero_grad()
    assert values.shape == (8, 4)
    assert values.dtype == torch.float64
    assert values.gt(0).all()
    last_digit = torch.finfo(dtype).eps  # resolution of the measured tensors
    torch.testing.assert_close(values, by_hand(network, *batch(dtype)), rtol=last_digit, atol=0)


@pytest.mark.parametrize("name", ["plain", "resnet"])
@pytest.mark.parametrize("norm", ["batch", "none"])
def test_recording_does_not_change_the_training(name, norm):
    network = build(name, norm=norm)
    alone = copy.deepcopy(network)
    x, y = batch()
    logits = []
    network.register_forward_hook(lambda module, inputs, output: logits.append(output))
    recorded(network, x, y)
    expected = alone(x)
    F.cross_entropy(expected, y).backward()
    assert torch.equal(logits[0], expected)
    for parameter, other in zip(network.parameters(), alone.parameters(), strict=True):
        assert torch.equal(parameter.grad, other.grad)
    assert all(torch.equal(a, b) for a, b in zip(network.buffers(), alone.buffers(), strict=True))


def hooks(network):
    return sum(len(module._forward_hooks) + len(module._backward_hooks) for module in network.modules())


def test_hooks_exist_only_inside_the_context():
    network = build()
    recorder = Recorder(network, ALL)
    assert hooks(network) == 0
    with recorder:
        assert hooks(network) > 0
    assert hooks(network) == 0
    with pytest.raises(RuntimeError, match="spoilt"), recorder:
        raise RuntimeError("spoilt")
    assert hooks(network) == 0


def test_a_probe_adds_only_the_hooks_that_it_needs():
    network = build()
    with Recorder(network, {"weight_norm": ALL["weight_norm"]}):
        assert hooks(network) == 0


class Unused(nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.unused = nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, x):
        return self.used(x)


def test_a_layer_that_took_no_part_is_nan_and_not_zero():
    used, unused = recorded(Unused(), torch.ones(2, 2), torch.tensor([0, 1])).tolist()
    assert not any(math.isnan(value) for value in used)
    values = dict(zip(ALL, unused, strict=True))
    assert math.isnan(values["grad_norm_weight"])
    assert math.isnan(values["grad_norm_preact"])
    assert math.isnan(values["response_std"])


def test_a_frozen_layer_has_only_a_response():
    network = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    network[0].requires_grad_(False)
    frozen, trained = recorded(network, torch.randn(4, 2), torch.tensor([0, 1, 0, 1]))
    assert frozen.isnan().tolist() == [name != "response_std" for name in ALL]
    assert not trained.isnan().any()


def test_values_of_an_earlier_step_are_cleared():
    network, (x, y) = build(), batch()
    recorder = Recorder(network, ALL)
    with recorder:
        F.cross_entropy(network(x), y).backward()
        assert not recorder.values().isnan().any()
    network.zero_grad()
    with recorder:
        gone = dict(zip(ALL, recorder.values().T.isnan().all(1).tolist(), strict=True))
    assert gone.pop("response_std")
    assert gone.pop("grad_norm_preact")
    assert gone.pop("grad_norm_weight")


def test_a_nonlinearity_in_place_does_not_touch_the_response():
    weight = torch.tensor([[1.0], [-1.0]])
    network = nn.Sequential(nn.Linear(1, 2, bias=False), nn.ReLU(inplace=True))
    network[0].weight.data = weight
    recorder = Recorder(network, ALL)
    with recorder:
        network(torch.tensor([[3.0]])).sum().backward()
        values = dict(zip(ALL, recorder.values()[0].tolist(), strict=True))
    assert values["response_std"] == 3.0  # of 3 and -3
    assert values["grad_norm_preact"] == 1.0  # dL/dz is 1 and 0
    assert values["grad_norm_weight"] == 3.0


def test_custom_probes_are_measured():
    network = nn.Sequential(nn.Linear(1, 4, bias=False))
    network[0].weight.data = torch.tensor([[1.0], [2.0], [3.0], [-1.0]])
    active = Probe("response", lambda response: (response > 0).float().mean())
    largest = Probe("weight", lambda weight: weight.grad.abs().max())
    recorder = Recorder(network, {"active": active, "largest": largest})
    with recorder:
        network(torch.tensor([[5.0]])).sum().backward()
        assert recorder.values().tolist() == [[0.75, 5.0]]


@pytest.mark.parametrize("name", ["plain", "resnet"])
def test_measuring_all_layers_at_once_gives_the_same_values(name):
    response = PROBES["response_std"].load()
    together = dataclasses.replace(
        response, measure_all=lambda xs: torch.stack([response.measure(x) for x in xs])
    )
    probes = {name: ALL[name] for name in NAMES} | {"response_std": together}
    network = build(name)
    one_by_one = recorded(network, *batch(), probes)
    network.zero_grad()
    recorder = Recorder(network, probes, at_once=True)
    with recorder:
        F.cross_entropy(network(batch()[0]), batch()[1]).backward()
        together = recorder.values()
    assert set(recorder.at_once) == set(NAMES)
    torch.testing.assert_close(together, one_by_one, rtol=torch.finfo(torch.float32).eps, atol=0)
