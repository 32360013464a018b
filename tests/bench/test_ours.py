import pytest
import torch

from depthbench.bench.case import Case
from depthbench.bench.ours import Ours

pytestmark = pytest.mark.slow  # it trains

TINY = Case(8, True, 16, "fp32")
CPU = torch.device("cpu")


def test_runs_with_and_without_probes_alternate():
    ours = Ours(TINY, CPU)
    timings = ours.measure("probes", 3)
    assert [t.label for t in timings] == ["off", "every step", "every step", "off", "off", "every step"]
    assert sum(t.steps for t in timings) == 6
    assert (ours.unprobed.step, ours.probed.step) == (3, 3)
    assert [trainer.run.is_probed(2) for trainer in (ours.unprobed, ours.probed)] == [False, True]
    labels = [t.label for t in ours.measure("cadence", 20)]
    assert labels == ["off", "default", "default", "off"]


def test_lanes_alternate_step_by_step():
    ours = Ours(TINY, CPU, lanes=2)
    (timing,) = ours.measure("steps", 3)
    assert timing.steps == 3
    assert [trainer.step for trainer in ours.lanes] == [3, 3]
