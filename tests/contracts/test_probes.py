"""Contract of every entry of PROBES."""

import inspect

import pytest
import torch
import torch.nn.functional as F

from depthbench.networks import NETWORKS
from depthbench.networks.layers import weighted_layers
from depthbench.probes import DEFAULT, PROBES
from depthbench.probes.probe import OF_LAYERS
from depthbench.probes.recorder import Recorder

every_probe = pytest.mark.parametrize("name", PROBES)
every_probe_of_layers = pytest.mark.parametrize(
    "name", [name for name, entry in PROBES.items() if entry.load().of in OF_LAYERS]
)


def build(dtype=torch.float32):
    torch.manual_seed(0)
    return NETWORKS["resnet"](depth=8, width=4).to(dtype)


def batch(dtype=torch.float32):
    torch.manual_seed(1)
    return torch.randn(6, 3, 8, 8).to(dtype), torch.arange(6)


def recorded(name, dtype=torch.float32, at_once=False):
    """Return the values (layers,) of one probe in the second of two training steps."""
    network = build(dtype)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    recorder = Recorder(network, {name: PROBES[name].load()}, at_once=at_once)
    x, y = batch(dtype)
    with recorder.preparing():
        F.cross_entropy(network(x.flip(3)), y).backward()
        recorder.keep_gradients()
    optimizer.step()
    optimizer.zero_grad()
    with recorder:
        F.cross_entropy(network(x), y).backward()
        values = recorder.values()
    optimizer.step()
    return recorder.with_updates(values)[:, 0]


def tensors(moment):
    """Return the arguments of a probe of `moment` for each layer, from autograd in float64."""
    network = build(torch.float64)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    x, y = batch(torch.float64)
    F.cross_entropy(network(x.flip(3)), y).backward()
    layers, kept = weighted_layers(network), {}
    earlier = [layer.weighted.weight.grad.clone() for layer in layers]
    optimizer.step()
    optimizer.zero_grad()
    for index, layer in enumerate(layers):

        def keep_output(module, inputs, output, index=index):
            output.retain_grad()
            kept["preactivation_gradient", index] = output

        def keep_response(module, inputs, output, index=index):
            kept["response", index] = output.detach().clone()

        layer.weighted.register_forward_hook(keep_output)
        layer.response.register_forward_hook(keep_response)
    F.cross_entropy(network(x), y).backward()
    weights = [layer.weighted.weight for layer in layers]
    if moment == "weight":
        return [(weight,) for weight in weights]
    if moment == "weight_gradients":
        return [(before, weight.grad) for before, weight in zip(earlier, weights, strict=True)]
    if moment == "weight_update":
        before = [weight.detach().clone() for weight in weights]
        optimizer.step()
        return [(old, weight.detach()) for old, weight in zip(before, weights, strict=True)]
    values = [kept[moment, index] for index in range(len(layers))]
    return [(value.grad if moment == "preactivation_gradient" else value,) for value in values]


def arguments(probe):
    """Return the number of tensors that a probe needs."""
    parameters = inspect.signature(probe.measure).parameters.values()
    return sum(parameter.default is parameter.empty for parameter in parameters)


def test_every_probe_has_a_description():
    assert all(entry.about for entry in PROBES.values())


def test_probes_of_modules_and_parameters_are_not_measured_by_default():
    assert {PROBES[name].load().where for name in DEFAULT} == {None}


@every_probe_of_layers
def test_its_values_are_those_of_the_tensors_that_autograd_gives(name):
    probe = PROBES[name].load()
    expected = torch.stack([probe.measure(*each) for each in tensors(probe.of)])
    assert (expected != 0).all()
    torch.testing.assert_close(recorded(name), expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(recorded(name, torch.float64), expected, rtol=1e-12, atol=0)


@every_probe_of_layers
def test_all_layers_at_once_give_the_same_values(name):
    torch.testing.assert_close(recorded(name, at_once=True), recorded(name), rtol=1e-6, atol=0)


@every_probe
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_a_value_is_one_float64_and_its_tensor_stays_as_it_was(name, dtype):
    probe = PROBES[name].load()
    torch.manual_seed(2)
    for shape in [(3, 5), (4, 6, 40, 40)]:  # short, and long enough for the fast sums of a CPU
        tensor = torch.randn(shape).to(dtype).requires_grad_(probe.of == "weight")
        tensors = [tensor] + [torch.randn(shape).to(dtype) for _ in range(arguments(probe) - 1)]
        if probe.of == "weight":
            tensor.grad = torch.randn(shape).to(dtype)
        before = tensor.detach().clone()
        value = probe.measure(*tensors)
        assert (value.dtype, value.shape) == (torch.float64, ())
        assert tensor.dtype == dtype
        assert torch.equal(tensor.detach(), before)


@every_probe_of_layers
def test_it_is_reproducible(name):
    assert torch.equal(recorded(name), recorded(name))
