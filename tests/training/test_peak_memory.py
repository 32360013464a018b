import sys

import pytest
import torch

from depthbench.training.peak_memory import PeakMemory

CPU = torch.device("cpu")
SIZE = 200_000_000  # bytes, far more than other changes in a test process

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process has one peak for good")


@pytest.fixture
def measure():
    """Return a function that makes a PeakMemory, closed when the test ends."""
    made = []

    def make():
        made.append(PeakMemory(CPU))
        return made[-1]

    yield make
    for peak in made:
        peak.close()


def fill_and_free():
    torch.ones(SIZE // 4)


@on_linux
def test_the_peak_of_a_run_excludes_earlier_runs(measure):
    first = measure()
    empty = first.bytes
    fill_and_free()
    full = first.bytes
    first.close()
    second = measure()
    assert full - empty == pytest.approx(SIZE, rel=0.1)
    assert second.bytes - empty == pytest.approx(0, abs=SIZE / 4)


def test_two_runs_in_one_process_have_no_peak(measure):
    first, second = measure(), measure()
    first.close()
    assert (first.bytes, second.bytes) == (None, None)


@on_linux
def test_a_resumed_run_keeps_the_larger_peak(measure):
    peak = measure()
    peak.restore({"of": "process", "bytes": 10**15})
    assert peak.bytes == 10**15
    peak.restore({"of": "process", "bytes": 1})
    assert peak.bytes > SIZE / 4


@pytest.mark.parametrize("state", [None, {"of": "process", "bytes": None}, {"of": "device", "bytes": 1}])
def test_a_run_with_an_unknown_part_has_an_unknown_peak(measure, state):
    peak = measure()
    peak.restore(state)
    assert peak.bytes is None


@on_linux
def test_a_run_records_its_peak(tiny, trained):
    record, _ = trained(next(tiny().runs()))
    assert record.timing.peak_memory_of == "process"
    assert record.timing.peak_memory > 1e8  # torch alone is more


def test_a_device_is_initialised_before_its_counters_are_reset(monkeypatch):
    """In a new process CUDA is not initialised, and resetting its counters would fail."""
    calls = []
    monkeypatch.setattr(torch.cuda, "init", lambda: calls.append("init"))
    for name in ("reset_peak_memory_stats", "max_memory_allocated"):
        monkeypatch.setattr(torch.cuda, name, lambda device, name=name: calls.append((name, device)) or 7)
    device = torch.device("cuda:1")
    peak = PeakMemory(device)
    assert peak.bytes == 7
    peak.close()
    assert calls == ["init", ("reset_peak_memory_stats", device), ("max_memory_allocated", device)]
