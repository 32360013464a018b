import copy
import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from depthbench.probes import PROBES
from depthbench.probes.probe import Probe
from depthbench.probes.reasons import FROZEN, NOTHING
from depthbench.probes.recorder import Recorder
from tests.probes.recording import ALL, build, hooks, recorded

NAMES = ["grad_norm_weight", "grad_norm_preact", "weight_norm", "response_std"]


def batch(dtype=torch.float32):
    torch.manual_seed(1)
    return torch.randn(6, 3, 8, 8, dtype=dtype), torch.arange(6)


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


def test_a_frozen_layer_has_only_a_response_and_a_weight():
    network = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    network[0].requires_grad_(False)
    frozen, trained = recorded(network, torch.randn(4, 2), torch.tensor([0, 1, 0, 1]))
    assert frozen.isnan().tolist() == [name not in ("response_std", "weight_norm") for name in ALL]
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


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("at_once", [False, True])
def test_a_layer_in_half_precision_is_measured(dtype, at_once):
    torch.manual_seed(0)
    half, full = nn.Linear(4, 5).to(dtype), nn.Linear(5, 3)
    recorder = Recorder(nn.Sequential(half, full), ALL, at_once)
    with recorder:
        z = half(torch.randn(6, 4).to(dtype))
        full(z.float()).square().sum().backward()
        values = recorder.values()
    assert values.dtype == torch.float64
    assert values.gt(0).all()
    assert values[0, list(ALL).index("response_std")] == z.detach().double().std(correction=0)


def test_a_gradient_that_is_not_a_number_is_measured():
    network = nn.Sequential(nn.Linear(2, 2))
    recorder = Recorder(network, ALL)
    with recorder:
        (network(torch.ones(1, 2)) * math.nan).sum().backward()
        assert recorder.values().isnan().any()
    assert recorder.is_measured.all()
    assert recorder.reasons == {}


class Gated(nn.Module):
    """A network with gates, norms, activations and a module that returns a tuple."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.linear, self.norm, self.act = nn.Linear(4, 4), nn.LayerNorm(4), nn.ReLU()
        self.gate, self.frozen = (
            nn.Parameter(torch.tensor(0.5)),
            nn.Parameter(torch.ones(2), requires_grad=False),
        )
        self.memory = nn.LSTM(4, 4, batch_first=True)

    def forward(self, x):
        x = x + self.gate * self.act(self.norm(self.linear(x)))
        x = self.act(self.memory(x[:, None])[0][:, 0])
        return x


SELECTING = {
    "gates": Probe("parameter", lambda gate: gate.detach().abs().max(), where="*gate"),
    "norm_weights": Probe(
        "parameter",
        lambda weight: weight.grad.norm(),
        where=lambda name, module: isinstance(module, nn.LayerNorm) and name.endswith("weight"),
    ),
    "inactive": Probe("output", lambda output: (output == 0).float().mean(), where=nn.ReLU),
    "largest_state": Probe("output", lambda output: output.max(), where=(nn.LSTM, nn.GRU)),
    "still": Probe("parameter", lambda parameter: parameter.sum(), where="frozen"),
    "none": Probe("output", lambda output: output.max(), where="nowhere.*"),
}


@pytest.mark.parametrize("at_once", [False, True])
def test_probes_measure_the_modules_and_parameters_that_they_select(at_once):
    probes = SELECTING | {"weight_norm": ALL["weight_norm"]}
    if at_once:
        largest = SELECTING["largest_state"]
        together = dataclasses.replace(largest, measure_all=lambda xs: torch.stack([x.max() for x in xs]))
        probes |= {"largest_state": together}
    network, x = Gated(), torch.randn(6, 4)
    seen = []
    network.act.register_forward_hook(lambda module, inputs, output: seen.append(output.detach()))
    network.memory.register_forward_hook(lambda module, inputs, output: seen.append(output[0].detach()))
    recorder = Recorder(network, probes, at_once)
    with recorder:
        network(x).sum().backward()
        values = recorder.values()
    found = {
        (row.name, name): values[index, column].item()
        for index, row in enumerate(recorder.rows)
        for column, name in enumerate(probes)
        if recorder.is_measured[index, column]
    }
    first, state, second = seen
    assert found == pytest.approx(
        {
            ("linear", "weight_norm"): network.linear.weight.detach().double().norm().item(),
            ("gate", "gates"): 0.5,
            ("norm.weight", "norm_weights"): network.norm.weight.grad.norm().item(),
            ("act", "inactive"): (torch.cat([first, second]) == 0).float().mean().item(),
            ("memory", "largest_state"): state.max().item(),
        }
    )
    others = [(row.layer, row.name, row.selected_by) for row in recorder.rows if row.selected_by]
    assert others == [
        (1, "gate", ("gates",)),
        (2, "frozen", ("still",)),
        (3, "norm.weight", ("norm_weights",)),
        (4, "act", ("inactive",)),
        (5, "memory", ("largest_state",)),
    ]
    assert recorder.reasons == {"frozen": FROZEN, "none": NOTHING}
    assert hooks(network) == 2


@pytest.mark.parametrize("build", [nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d])
@pytest.mark.parametrize("wrap", [lambda network: network, nn.DataParallel])
def test_a_transposed_convolution_is_measured(build, wrap):
    torch.manual_seed(0)
    layer, x = build(2, 3, 3), torch.randn(2, 2, *[4] * (int(build.__name__[-2]) or 1))
    network = wrap(nn.Sequential(layer, nn.ReLU()))
    z = layer(x)
    z.retain_grad()
    z.relu().square().sum().backward()
    norms = [t.detach().double().norm().item() for t in (layer.weight.grad, z.grad, layer.weight)]
    network.zero_grad()
    recorder = Recorder(network, {name: ALL[name] for name in NAMES})
    with recorder:
        network(x).square().sum().backward()
        values = recorder.values()[0].tolist()
    assert values == pytest.approx([*norms, z.detach().double().std(correction=0).item()], rel=1e-6)
    assert recorder.reasons == {}


def test_a_probe_need_not_detach():
    network = Gated()
    recorder = Recorder(network, {"gate": Probe("parameter", lambda gate: gate * 2, where="gate")})
    with recorder:
        network(torch.ones(1, 4)).sum().backward()
        values = recorder.values()
    assert not values.requires_grad
    assert values.tolist()[-1] == [1.0]
