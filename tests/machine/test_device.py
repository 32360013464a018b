import pytest
import torch

from depthbench.machine.device import wait_for


@pytest.mark.parametrize("name", ["cuda:1", "mps", "cpu"])
def test_it_is_the_device_at_work_that_is_waited_for(monkeypatch, name):
    waits = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: waits.append(str(device)))
    monkeypatch.setattr(torch.mps, "synchronize", lambda: waits.append("mps"))
    wait_for(torch.device(name))
    assert waits == [name] * (name != "cpu")
