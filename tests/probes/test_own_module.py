"""Copies of a network that are made in a probed step are not measured."""

import io
import pickle
from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

import depthbench
from depthbench.probes.own_module import after_forward
from depthbench.probes.recorder import Recorder
from tests.probes.recording import ALL, hooks


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm = nn.Linear(4, 4), nn.LayerNorm(4)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.last = nn.Linear(4, 3)

    def forward(self, x):
        x = self.norm(self.first(x)).relu()
        return self.last(self.attention(x, key=x, value=x)[0].mean(1))


def saved(network):
    file = io.BytesIO()
    torch.save(network, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES = {
    "deepcopy": deepcopy,
    "average": AveragedModel,
    "pickle": lambda network: pickle.loads(pickle.dumps(network)),
    "save": saved,
    "copy of a copy": lambda network: saved(deepcopy(saved(network))),
}
IMAGES = torch.randn(5, 2, 4, generator=torch.Generator().manual_seed(1))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("make", COPIES.values(), ids=COPIES)
def test_a_copy_that_a_step_makes_and_calls_changes_no_value(make):
    network = Network()
    recorder = Recorder(network, ALL)
    with recorder:
        network(IMAGES).square().sum().backward()
        alone = recorder.values()
    network.zero_grad()
    with recorder:
        copy = make(network)
        copy(3 * IMAGES).sum().backward()
        loss = network(IMAGES).square().sum()
        copy(IMAGES).sum().backward()
        loss.backward()
        copy(IMAGES)
        values = recorder.values()
    assert not alone.isnan().all()
    torch.testing.assert_close(values, alone, rtol=0, atol=0, equal_nan=True)
    network.zero_grad()
    with recorder:
        copy(IMAGES).sum().backward()
        recorder.values()
    of_uses = [name for name, column in zip(ALL, recorder.is_measured.T, strict=True) if not column.any()]
    assert of_uses == ["grad_norm_weight", "grad_norm_preact", "response_std"]
    torch.testing.assert_close(copy(IMAGES), network(IMAGES))


def test_values_beside_a_mean_teacher_are_those_of_autograd(tmp_path):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    x = torch.randn(5, 4)
    z = [network[0](x).detach().requires_grad_()]
    z.append(network[2](z[0].relu()))
    z[1].retain_grad()
    (z[1] - network(2 * x).detach()).square().sum().backward()
    network.zero_grad()
    with depthbench.watch(network, tmp_path / "run", name="a") as watch, watch.step():
        teacher = deepcopy(network)
        with torch.no_grad():
            target = teacher(2 * x)
        (network(x) - target).square().sum().backward()
        teacher(x).sum().backward()
    history = depthbench.load_results(tmp_path / "run").layers
    stored = history.sort_values("layer")
    assert list(stored["grad_norm_preact"]) == pytest.approx([each.grad.norm().item() for each in z])
    assert list(stored["response_std"]) == pytest.approx([each.std(correction=0).item() for each in z])


def test_a_loaded_copy_runs_without_depthbench_and_reserves_the_numbers_of_its_hooks(monkeypatch):
    network = Network()
    handle = after_forward(network.attention, print, with_kwargs=True)
    stored = pickle.dumps(network.attention)
    handle.remove()
    assert b"depthbench" not in stored
    monkeypatch.setattr(torch.utils.hooks.RemovableHandle, "next_id", 0)  # as in a new process
    copy, seen = pickle.loads(stored), []
    assert copy.register_forward_hook(lambda *arguments: seen.append(len(arguments))).id > handle.id
    copy(IMAGES, IMAGES, IMAGES)
    assert seen == [3]  # without keyword arguments


def test_a_copy_can_be_measured_itself():
    network = Network()
    recorder = Recorder(network, ALL)
    with recorder:
        copy = deepcopy(network)
        network(IMAGES).sum().backward()
        values = recorder.values()
    own = Recorder(copy, ALL)
    before = hooks(copy)
    with own:
        copy(IMAGES).sum().backward()
        torch.testing.assert_close(own.values(), values, rtol=0, atol=0, equal_nan=True)
    assert hooks(copy) == before
    assert hooks(network) == 0
