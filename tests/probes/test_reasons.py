import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from depthbench.probes import PROBES
from depthbench.probes.probe import Probe
from depthbench.probes.reasons import EARLIER, FROZEN, FUNCTIONAL, PARTLY, UNREACHED, UNUSED
from depthbench.probes.recorder import Recorder
from tests.probes.recording import ALL, Repeated, labelled


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


@pytest.mark.parametrize("names", [list(ALL), ["response_std", "grad_norm_weight"], ["grad_norm_preact"]])
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


class Both(nn.Module):
    """Uses the weights of layers by calls, by themselves, or both."""

    def __init__(self):
        super().__init__()
        names = ("called", "both", "twice", "functional", "normed")
        for name in names:
            setattr(self, name, nn.Linear(4, 4))
        torch.nn.utils.parametrizations.weight_norm(self.normed)

    def forward(self, x):
        x = self.normed(self.twice(self.twice(self.both(self.called(x)))))
        return F.linear(x @ self.both.weight.T, self.functional.weight)


@pytest.mark.parametrize("names", [list(ALL), ["response_std"], ["grad_norm_weight"]])
def test_a_weight_that_is_also_used_without_a_call_is_measured_in_part(names):
    network = Both()
    recorder = Recorder(network, {name: ALL[name] for name in names})
    for _ in range(2):
        with recorder:
            network(torch.randn(2, 4)).sum().backward()
            recorder.values()
    counts_calls = names != ["grad_norm_weight"]
    assert recorder.reasons == ({"both": PARTLY, "functional": FUNCTIONAL} if counts_calls else {})
    assert recorder.is_measured[[layer.name for layer in recorder.layers].index("both")].all()


@pytest.mark.parametrize("at_once", [False, True])
def test_weights_without_a_gradient_are_measured_if_the_probe_needs_none(at_once):
    network = Partial()
    torch.nn.utils.parametrizations.weight_norm(network.unused)
    probes = {"weight_norm": ALL["weight_norm"], "bias": Probe("parameter", torch.sum, where="*.bias")}
    probes["any_bias"] = dataclasses.replace(probes["bias"], needs_gradient=False)
    recorder = Recorder(network, probes, at_once)
    with recorder:
        network(torch.randn(2, 4)).sum().backward()
        values = recorder.values()
    norms = [getattr(network, layer.name).weight.detach().double().norm() for layer in recorder.layers]
    torch.testing.assert_close(values[: len(norms), 0], torch.stack(norms), rtol=1e-6, atol=0)
    biases = {
        row.name: (values[index, 1].item(), values[index, 2].item())
        for index, row in enumerate(recorder.rows)
        if row.selected_by
    }
    assert set(biases) == {f"{layer.name}.bias" for layer in recorder.layers}
    for name, (with_gradient, always) in biases.items():
        parameter = network.get_parameter(name)
        assert always == pytest.approx(parameter.sum().item(), rel=1e-6)
        assert math.isnan(with_gradient) == (parameter.grad is None)
    assert set(recorder.reasons) == {name for name in biases if network.get_parameter(name).grad is None}


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
