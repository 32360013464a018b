import pytest
import torch

from depthbench.errors import BadInput
from depthbench.machine.device import resolve_device, wait_for


@pytest.mark.parametrize("name", ["cuda:1", "mps", "cpu"])
def test_only_the_given_device_is_waited_for(monkeypatch, name):
    waits = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: waits.append(str(device)))
    monkeypatch.setattr(torch.mps, "synchronize", lambda: waits.append("mps"))
    wait_for(torch.device(name))
    assert waits == [name] * (name != "cpu")


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cpu:0", "cuda:99", "mps:1"])
def test_an_unusable_device_is_bad_input(device):
    with pytest.raises(BadInput, match=f"--device {device}"):
        resolve_device(device)
