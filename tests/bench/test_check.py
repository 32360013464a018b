"""Captured against eager: a difference is told, and so is a NaN."""

import math

import pytest
import torch

from depthbench.bench import BenchFailed, check
from depthbench.bench.case import Case


def test_within_the_tolerance_and_beyond():
    ways = torch.ones(100, dtype=torch.float64)
    eager = [2.0, 1.0], ways
    found = check.compare(eager, eager, ([2.001, 1.0], ways * 1.01))
    assert found["loss"] == pytest.approx(5e-4)
    assert found["weights"] == pytest.approx(0.01)
    with pytest.raises(BenchFailed, match=r"losses differ by at most 1\.0e-01"):
        check.compare(eager, eager, ([2.0, 1.1], ways))
    with pytest.raises(BenchFailed, match="is not the eager step"):
        check.compare(eager, eager, ([2.0, 1.0], ways * math.nan))


def test_what_eager_steps_made_twice_differ_by_is_tolerated_within_limits():
    ways = torch.ones(100, dtype=torch.float64)
    eager, again = ([2.0, 1.0], ways), ([2.0, 1.001], ways * 1.03)
    found = check.compare(eager, again, ([2.0, 1.002], ways * 1.08))
    assert found["loss_tolerance"] == pytest.approx(0.003)
    assert found["weights_tolerance"] == pytest.approx(0.09)
    with pytest.raises(BenchFailed, match="is not the eager step"):
        check.compare(eager, ([2.0, 3.0], ways * 9), ([2.0, 1.1], ways))


@pytest.mark.cuda
def test_the_captured_step_is_the_eager_step():
    case = Case(8, True, 16, "fp32")
    found = check.check_captured(case.run({"every": 5}), case.images(), torch.device("cuda"))
    assert found["steps"] == check.STEPS
