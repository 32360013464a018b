import pytest
import torch
import torch.nn.functional as F
from torch import nn

from depthbench.probes.probe import Probe
from depthbench.probes.reasons import TRANSFORMED
from depthbench.probes.recorder import Recorder
from tests.probes.recording import ALL, build, hooks


def test_a_probe_adds_only_the_hooks_that_it_needs():
    network = build()
    with Recorder(network, {"weight_norm": ALL["weight_norm"]}):
        assert hooks(network) == 0


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
