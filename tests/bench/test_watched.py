import torch

from depthbench.bench.case import Case
from depthbench.bench.watched import Watched


def test_a_loop_alternates_with_the_same_loop_and_watch():
    contender = Watched(Case(8, True, 16, "fp32"), torch.device("cpu"))
    every = contender.measure("probes", 4)
    assert [timing.label for timing in every[:4]] == ["off", "every step", "every step", "off"]
    assert sum(timing.steps for timing in every if timing.label == "off") == 4
    default = contender.measure("cadence", 20)
    assert {timing.label: timing.steps for timing in default} == {"off": 10, "default": 10}
