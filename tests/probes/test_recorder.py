import copy
import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from depthbench.networks import NETWORKS
from depthbench.probes import DEFAULT, PROBES
from depthbench.probes.probe import Probe
from depthbench.probes.reasons import EARLIER, FROZEN, FUNCTIONAL, NOTHING, TRANSFORMED, UNREACHED, UNUSED
from depthbench.probes.recorder import Recorder

ALL = {name: PROBES[name].load() for name in DEFAULT}
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


class Repeated(nn.Module):
    """A layer that is applied twice, without and with recomputed activations."""

    def __init__(self, reentrant=None, layers=1):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(4, 5)
        self.hidden = nn.ModuleList(nn.Linear(5, 5) for _ in range(layers))
        self.last = nn.Linear(5, 3)
        self.reentrant, self.outputs = reentrant, []

    def apply_hidden(self, k, x):
        z = self.hidden[k % len(self.hidden)](x)
        if z.requires_grad and self.reentrant is None:
            z.retain_grad()
            self.outputs.append(z)
        return z.relu()

    def forward(self, x):
        x = self.first(x).relu()
        for k in range(2):
            if self.reentrant is None:
                x = self.apply_hidden(k, x)
            else:
                x = checkpoint(self.apply_hidden, k, x, use_reentrant=self.reentrant)
        return self.last(x)


def labelled():
    torch.manual_seed(1)
    return torch.randn(6, 4), torch.arange(6) % 3


PLUGGED = {
    "largest": Probe("preactivation_gradient", lambda gradient: gradient.abs().max()),
    "active": Probe("response", lambda response: (response > 0).float().mean()),
}


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("reentrant", [None, False, True])
def test_every_use_of_a_layer_is_measured(at_once, reentrant):
    network = Repeated()
    F.cross_entropy(network(labelled()[0]), labelled()[1]).backward()
    z = torch.stack(network.outputs).detach().double()
    gradients = torch.stack([output.grad for output in network.outputs]).double()
    recorder = Recorder(checked := Repeated(reentrant), ALL | PLUGGED, at_once)
    with recorder:
        F.cross_entropy(checked(labelled()[0]), labelled()[1]).backward()
        values = dict(zip(recorder.probes, recorder.values()[1].tolist(), strict=True))
    expected = {
        "grad_norm_preact": gradients.square().sum((1, 2)).sum().sqrt(),
        "grad_norm_weight": network.hidden[0].weight.grad.double().norm(),
        "response_std": z.std(correction=0),
        "largest": gradients.abs().max(),
        "active": (z > 0).double().mean(),
        "weight_norm": network.hidden[0].weight.detach().double().norm(),
    }
    assert values == pytest.approx({name: value.item() for name, value in expected.items()}, rel=1e-6)


def test_two_layers_that_share_a_weight_have_their_own_gradients_and_responses():
    once, tied = Repeated(), Repeated(layers=2)
    tied.load_state_dict(once.state_dict(), strict=False)
    tied.hidden[1].weight, tied.hidden[1].bias = tied.hidden[0].weight, tied.hidden[0].bias
    (_, whole, _), (_, first, second, _) = (recorded(n, *labelled()).tolist() for n in (once, tied))
    for name, both, value in zip(ALL, zip(first, second, strict=True), whole, strict=True):
        if name == "grad_norm_preact":
            assert math.hypot(*both) == pytest.approx(value, rel=1e-6)
            assert both[0] != both[1]
        elif name != "response_std":
            assert both == pytest.approx((value, value), rel=1e-6)


def test_uses_of_different_shapes_are_measured_together():
    layer = nn.Linear(4, 4)
    recorder = Recorder(nn.Sequential(layer), ALL | PLUGGED)
    small, large = torch.randn(2, 4), 3 + torch.randn(5, 6, 4)
    with recorder:
        (layer(small).sum() + 2 * layer(large).sum()).backward()
        values = dict(zip(recorder.probes, recorder.values()[0].tolist(), strict=True))
    responses = torch.cat([layer(small).flatten(), layer(large).flatten()]).detach().double()
    assert values["response_std"] == pytest.approx(responses.std(correction=0).item(), rel=1e-6)
    assert values["active"] == pytest.approx((responses > 0).double().mean().item(), rel=1e-6)
    assert values["grad_norm_preact"] == pytest.approx(math.sqrt(8 + 4 * 120))
    assert values["largest"] == 2


def test_micro_batches_are_measured_as_one_batch():
    x, y = labelled()
    whole = recorded(Repeated(), x, y)
    network = Repeated()
    recorder = Recorder(network, ALL | PLUGGED)
    with recorder:
        for part in (slice(0, 3), slice(3, 6)):
            (F.cross_entropy(network(x[part]), y[part]) / 2).backward()
        values = recorder.values()
    torch.testing.assert_close(values[:, : len(ALL)], whole, rtol=1e-6, atol=1e-12)
    assert values[::2, len(ALL) :].isnan().all()  # tensors of single uses were not kept
    assert not values[1].isnan().any()


def test_the_sum_of_several_backward_passes_is_not_one_of_them():
    network = Repeated()
    recorder = Recorder(network, ALL)
    with recorder:
        logits = network(labelled()[0])
        logits.sum().backward(retain_graph=True)
        logits.square().sum().backward()
        missing = recorder.values().isnan().all(0).tolist()
    assert dict(zip(ALL, missing, strict=True)) == {name: name == "grad_norm_preact" for name in ALL}


class Norms(nn.Module):
    """Layers whose norms are registered elsewhere, shared, applied to a permuted output or to a sum."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.shared, self.of_sum = nn.LayerNorm(4), nn.LayerNorm(4)
        self.conv = nn.Conv2d(3, 4, 1)
        self.of_conv = nn.LayerNorm(4)
        self.a, self.b, self.c, self.d = (nn.Linear(4, 4) for _ in range(4))
        self.after = nn.LayerNorm(4)
        for scale, norm in enumerate([self.shared, self.of_sum, self.of_conv, self.after], 2):
            nn.init.constant_(norm.weight, scale)

    def forward(self, x):
        x = self.of_conv(self.conv(x).permute(0, 2, 3, 1)).mean((1, 2))
        x = x + self.shared(self.a(x)) + self.shared(self.b(x))
        x = self.of_sum(x + self.c(x))
        return self.after(self.d(x).relu_())


def test_a_response_is_that_of_the_norm_of_the_layer_and_of_no_other():
    network, x = Norms(), torch.randn(16, 3, 2, 2)
    seen = {}
    for name in "cd":
        hook = lambda module, inputs, output, name=name: seen.update({name: output.detach().clone()})  # noqa: E731
        getattr(network, name).register_forward_hook(hook)
    recorder = Recorder(network, {"response_std": ALL["response_std"]})
    with recorder:
        network(x).sum().backward()
        values = {
            layer.name: value
            for layer, value in zip(recorder.layers, recorder.values()[:, 0].tolist(), strict=True)
        }
    expected = {"conv": 4.0, "a": 2.0, "b": 2.0}
    expected |= {name: z.double().std(correction=0).item() for name, z in seen.items()}
    assert values == pytest.approx(expected, rel=1e-3)


def test_the_second_map_of_a_transformer_layer_has_its_own_response():
    torch.manual_seed(0)
    network = nn.TransformerEncoderLayer(8, 2, 16, dropout=0, batch_first=True)
    seen = []
    network.linear2.register_forward_hook(lambda module, inputs, output: seen.append(output.detach()))
    recorder = Recorder(network, {"response_std": ALL["response_std"]})
    with recorder:
        network(torch.randn(4, 3, 8)).sum().backward()
        names = [layer.name for layer in recorder.layers]
        value = recorder.values()[names.index("linear2"), 0].item()
    assert value == pytest.approx(seen[0].double().std(correction=0).item(), rel=1e-6)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize(
    "parametrize",
    [
        nn.utils.weight_norm,
        nn.utils.spectral_norm,
        parametrizations.weight_norm,
        parametrizations.spectral_norm,
        parametrizations.orthogonal,
    ],
)
def test_the_effective_weight_and_its_gradient_are_measured(parametrize, times, at_once):
    torch.manual_seed(0)
    layer, x = parametrize(nn.Linear(4, 4)), torch.randn(6, 4)
    network = nn.Sequential(layer)
    before = [buffer.clone() for buffer in layer.buffers()]
    recorder = Recorder(network, ALL, at_once)
    with recorder:
        layer.eval()  # without the iterations of spectral_norm, every pass has the same weight
        y = x
        for _ in range(times):
            y = layer(y)
        y.square().sum().backward()
        values = dict(zip(ALL, recorder.values()[0].tolist(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(layer.buffers(), before, strict=True))
    assert recorder.is_measured.all()
    layer(x)  # computes the weight of the older ones
    effective = layer.weight.detach().clone().requires_grad_()
    z = x
    for _ in range(times):
        z = F.linear(z, effective, layer.bias.detach())
    z.square().sum().backward()
    assert values["weight_norm"] == pytest.approx(effective.detach().double().norm().item(), rel=1e-6)
    assert values["grad_norm_weight"] == pytest.approx(effective.grad.double().norm().item(), rel=1e-5)


def test_probing_does_not_change_a_parametrized_network():
    torch.manual_seed(0)
    probed = nn.Sequential(parametrizations.spectral_norm(nn.Linear(4, 4)), nn.Linear(4, 3))
    alone = copy.deepcopy(probed)
    x, y = labelled()
    recorded(probed, x, y)
    F.cross_entropy(alone(x), y).backward()
    assert all(torch.equal(a, b) for a, b in zip(probed.buffers(), alone.buffers(), strict=True))
    pairs = zip(probed.parameters(), alone.parameters(), strict=True)
    assert all(torch.equal(a.grad, b.grad) for a, b in pairs)


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


class Partial(nn.Module):
    """Layers without a gradient or a response, each for another reason."""

    def __init__(self):
        super().__init__()
        names = ("detached", "functional", "frozen", "unused", "last")
        for name in names:
            setattr(self, name, nn.Linear(4, 4))
        self.frozen.requires_grad_(False)

    def forward(self, x):
        x = self.frozen(self.detached(x).detach())
        return self.last(F.linear(x, self.functional.weight))


@pytest.mark.parametrize("names", [list(ALL), ["response_std", "weight_norm"], ["grad_norm_preact"]])
def test_what_is_not_measured_has_a_reason(names):
    network = Partial()
    recorder = Recorder(network, {name: ALL[name] for name in names})
    with recorder:
        network(torch.randn(2, 4)).sum().backward()
        values = recorder.values()
    assert recorder.reasons == {
        "detached": UNREACHED,
        "functional": FUNCTIONAL,
        "frozen": FROZEN,
        "unused": UNUSED,
    }
    assert (values.isnan().numpy() == ~recorder.is_measured).all()


def test_a_gradient_that_is_not_a_number_is_measured():
    network = nn.Sequential(nn.Linear(2, 2))
    recorder = Recorder(network, ALL)
    with recorder:
        (network(torch.ones(1, 2)) * math.nan).sum().backward()
        assert recorder.values().isnan().any()
    assert recorder.is_measured.all()
    assert recorder.reasons == {}


@pytest.mark.parametrize("at_once", [False, True])
def test_each_use_of_a_layer_has_a_row_of_its_own_on_request(at_once):
    network = Repeated()
    F.cross_entropy(network(labelled()[0]), labelled()[1]).backward()
    recorder = Recorder(checked := Repeated(), ALL | PLUGGED, at_once, each_use=3)
    with recorder:
        F.cross_entropy(checked(labelled()[0]), labelled()[1]).backward()
        values = recorder.values()
    names = [row.name for row in recorder.rows]
    assert names == ["first", "hidden.0", "last"] + [
        f"{n}[{k}]" for n in ("first", "hidden.0", "last") for k in range(3)
    ]
    column = {name: index for index, name in enumerate(recorder.probes)}
    for use, z in enumerate(network.outputs):
        row = names.index(f"hidden.0[{use}]")
        expected = {
            "grad_norm_preact": z.grad.double().norm(),
            "response_std": z.detach().double().std(correction=0),
            "largest": z.grad.abs().max(),
            "active": (z > 0).double().mean(),
        }
        for name, value in expected.items():
            assert values[row, column[name]].item() == pytest.approx(value.item(), rel=1e-6), name
        assert recorder.is_measured[row].sum() == len(expected)
    assert not recorder.is_measured[names.index("hidden.0[2]")].any()
    assert recorder.reasons == {}


def test_uses_that_are_computed_again_in_another_order_are_not_named():
    recorder = Recorder(network := Repeated(reentrant=True), ALL, each_use=2)
    with recorder:
        F.cross_entropy(network(labelled()[0]), labelled()[1]).backward()
        recorder.values()
    rows = [row.name for row in recorder.rows]
    measured = dict(zip(ALL, recorder.is_measured[rows.index("hidden.0[0]")].tolist(), strict=True))
    assert measured == {name: name == "response_std" for name in ALL}


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


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"of": "output"}, "a probe of 'output' needs `where`"),
        ({"of": "weight", "where": "a.*"}, "a probe of 'weight' takes no `where`"),
        ({"of": "gradient"}, "a probe is of 'gradient'; it can be of weight, "),
    ],
)
def test_a_wrong_probe_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Probe(measure=torch.max, **wrong)


def trained(network, batches, probed, probes=("update_ratio", "grad_cosine"), **options):
    """Train on each of `batches` and return step -> the values at the steps `probed`."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    recorder = Recorder(network, {name: PROBES[name].load() for name in probes}, **options)
    values = {}
    for step, (x, y) in enumerate(batches):
        optimizer.zero_grad()
        with recorder if step in probed else recorder.preparing():
            F.cross_entropy(network(x), y).backward()
            if step in probed:
                values[step] = recorder.values()
            if step + 1 in probed:
                recorder.keep_gradients()
        nn.utils.clip_grad_norm_(network.parameters(), 0.01)
        optimizer.step()
        if step in probed:
            values[step] = recorder.with_updates(values[step])
    return values


def pairs_by_hand(network, weights_of, batches, probed):
    """Return what `trained` does, for the update ratio and the cosine of gradients."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    expected, earlier = {}, None
    for step, (x, y) in enumerate(batches):
        optimizer.zero_grad()
        weights = weights_of(network)
        logits = network(x)
        F.cross_entropy(logits, y).backward()
        gradients = [weight.grad.double().flatten() for weight in weights]
        before = [weight.detach().double().clone() for weight in weights]
        nn.utils.clip_grad_norm_(network.parameters(), 0.01)
        optimizer.step()
        after = [weight.detach().double() for weight in weights_of(network)]
        ratios = [(b - a).norm() / a.norm() for a, b in zip(before, after, strict=True)]
        cosines = [torch.tensor(math.nan)] * len(weights)
        if earlier:
            cosines = [F.cosine_similarity(a, b, dim=0) for a, b in zip(earlier, gradients, strict=True)]
        if step in probed:
            expected[step] = torch.stack([torch.stack(ratios), torch.stack(cosines).double()], 1)
        earlier = gradients
    return expected


def made_batches(count=5):
    torch.manual_seed(3)
    return [(torch.randn(6, 4), torch.arange(6) % 3) for _ in range(count)]


@pytest.mark.parametrize("reentrant", [None, False, True])
@pytest.mark.parametrize("layers", [1, 2])  # two share one weight
def test_probes_over_pairs_of_steps_equal_autograd_by_hand(reentrant, layers):
    def build(reentrant=None):
        network = Repeated(reentrant, layers)
        for layer in network.hidden:
            layer.weight, layer.bias = network.hidden[0].weight, network.hidden[0].bias
        return network

    weights = lambda network: [network.first.weight, *(h.weight for h in network.hidden), network.last.weight]  # noqa: E731
    probed = {0, 2, 3}
    values = trained(build(reentrant), made_batches(), probed)
    expected = pairs_by_hand(build(), weights, made_batches(), probed)
    assert values.keys() == expected.keys()
    for step in probed:
        torch.testing.assert_close(values[step], expected[step], rtol=1e-6, atol=0, equal_nan=True)


@pytest.mark.parametrize("parametrize", [parametrizations.weight_norm, parametrizations.spectral_norm])
def test_pairs_of_a_computed_weight_are_of_the_effective_weight(parametrize):
    def build():
        torch.manual_seed(0)
        return nn.Sequential(parametrize(nn.Linear(4, 4)), nn.ReLU(), nn.Linear(4, 3))

    network = build()
    seen = []

    def see(module, inputs, weight):
        weight.retain_grad()
        seen.append(weight)

    network[0].parametrizations["weight"].register_forward_hook(see)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    for x, y in made_batches(3):
        F.cross_entropy(network(x), y).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 0.01)
        optimizer.step()
        optimizer.zero_grad()
    network[0].eval()  # computes the weight with the vectors of the last step
    after = network[0].weight.detach().double()
    first, last = (weight.grad.double().flatten() for weight in seen[1:3])
    values = trained(build(), made_batches(3), {2})[2][0]
    before = seen[2].detach().double()
    expected = [(after - before).norm() / before.norm(), F.cosine_similarity(first, last, dim=0)]
    assert values.tolist() == pytest.approx([value.item() for value in expected], rel=1e-6)


def test_kept_gradients_survive_a_checkpoint_and_are_used_once():
    network, (x, y) = Repeated(), labelled()
    probes = {"grad_cosine": PROBES["grad_cosine"].load()}
    recorder, resumed = Recorder(network, probes), Recorder(network, probes)
    with recorder.preparing():
        F.cross_entropy(network(x), y).backward()
        recorder.keep_gradients()
    state = recorder.state()
    assert set(state) == {"first", "hidden.0", "last"}
    resumed.restore({name: gradient.clone() for name, gradient in state.items()})
    for each in (recorder, resumed):
        network.zero_grad()
        with each:
            F.cross_entropy(network(x), y).backward()
            torch.testing.assert_close(
                each.values(), torch.ones(3, 1, dtype=torch.float64), rtol=1e-6, atol=0
            )
        assert each.state() == {}
        with each:
            F.cross_entropy(network(x), y).backward()
            assert each.values().isnan().all()  # there is no batch before
            assert each.reasons == {}


def test_a_step_before_a_probed_one_has_hooks_only_for_computed_weights():
    plain = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3))
    normed = nn.Sequential(parametrizations.weight_norm(nn.Linear(4, 4)))
    for network, count in ((plain, 0), (normed, 1)):
        with Recorder(network, {"grad_cosine": PROBES["grad_cosine"].load()}).preparing():
            assert hooks(network) == count
        assert hooks(network) == 0
    assert not Recorder(plain, ALL).compares_gradients


def test_zero_weights_and_gradients_have_no_finite_ratio_and_no_cosine():
    network = nn.Sequential(nn.Linear(2, 2, bias=False))
    nn.init.zeros_(network[0].weight)
    batches = [(torch.ones(1, 2), torch.tensor([0]))] * 2
    (value,) = trained(network, batches, {0}, ["update_ratio"])[0].tolist()
    assert value == [math.inf]
    x = torch.zeros(1, 2)  # no gradient
    recorded = trained(network, [(x, torch.tensor([0]))] * 2, {1}, ["grad_cosine"])[1]
    assert recorded.isnan().all()


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


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("value", [torch.ones(2), 1.0, None])
@pytest.mark.parametrize("of", ["weight", "response", "preactivation_gradient", "weight_update"])
def test_a_probe_that_returns_no_number_is_named(of, value, at_once):
    network = nn.Sequential(nn.Linear(2, 2))
    recorder = Recorder(network, {"mine": Probe(of, lambda *tensors: value)}, at_once)

    def measure():
        with recorder:
            network(torch.ones(1, 2)).sum().backward()
            recorder.with_updates(recorder.values())

    with pytest.raises(ValueError, match=r"the probe 'mine' returned"):
        measure()


def test_a_probe_need_not_detach():
    network = Gated()
    recorder = Recorder(network, {"gate": Probe("parameter", lambda gate: gate * 2, where="gate")})
    with recorder:
        network(torch.ones(1, 4)).sum().backward()
        values = recorder.values()
    assert not values.requires_grad
    assert values.tolist()[-1] == [1.0]


def test_a_layer_without_a_gradient_in_the_step_before_has_its_own_reason():
    network, (x, y) = Repeated(), labelled()
    recorder = Recorder(network, {name: PROBES[name].load() for name in ("weight_norm", "grad_cosine")})
    network.first.requires_grad_(False)
    with recorder.preparing():
        F.cross_entropy(network(x), y).backward()
        recorder.keep_gradients()
    network.first.requires_grad_(True)
    with recorder:
        F.cross_entropy(network(x), y).backward()
        recorder.values()
    assert recorder.reasons == {"first": EARLIER}


class Mapped(nn.Module):
    """Layers that are called within vmap, once within it and once outside, and outside only."""

    def __init__(self):
        super().__init__()
        self.within, self.both, self.outside = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)
        self.attention = nn.MultiheadAttention(4, 2)
        self.norm = nn.LayerNorm(4)

    def forward(self, x):
        y = torch.vmap(lambda image: self.norm(self.both(self.within(image).relu())))(x)
        z = torch.vmap(lambda image: self.attention(image[None], image[None], image[None])[0][0])(y)
        return self.outside(self.both(z))


def test_calls_within_vmap_are_not_measured():
    torch.manual_seed(0)
    network, x, y = Mapped(), torch.randn(5, 4), torch.arange(5) % 3
    F.cross_entropy(network(x), y).backward()
    gradients = {name: p.grad.clone() for name, p in network.named_parameters()}
    network.zero_grad()
    outputs = Probe("output", lambda output: output.norm(), where="within")
    for at_once in (False, True):
        recorder = Recorder(network, ALL | {"outputs": outputs}, at_once=at_once, each_use=2)
        with recorder:
            F.cross_entropy(network(x), y).backward()
            values = recorder.values()
        columns = list(recorder.probes)
        of_layers = {row.name: i for i, row in enumerate(recorder.rows) if i < len(recorder.layers)}
        assert recorder.reasons.pop("within") == TRANSFORMED
        assert recorder.reasons.pop("both") == TRANSFORMED
        assert set(recorder.reasons.values()) == {TRANSFORMED}, recorder.reasons
        for name in ("within", "both", "outside"):
            norm = values[of_layers[name], columns.index("grad_norm_weight")]
            assert norm == pytest.approx(gradients[f"{name}.weight"].norm().item())
        for probe in ("grad_norm_preact", "response_std"):
            measured = recorder.is_measured[: len(recorder.layers), columns.index(probe)]
            assert [i for i, is_there in enumerate(measured) if is_there] == [of_layers["outside"]]
        assert not recorder.is_measured[:, columns.index("outputs")].any()
        network.zero_grad()
