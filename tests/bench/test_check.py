"""Captured against eager: a difference is told, and so is a NaN."""

import math

import pytest
import torch

from depthbench.bench import BenchFailed, check
from depthbench.bench.case import Case


def test_within_the_tolerance_and_beyond():
    ways = torch.ones(100, dtype=torch.float64)
    found = check.compare(([2.0, 1.0], ways), ([2.001, 1.0], ways * 1.01))
    assert found["loss"] == pytest.approx(5e-4)
    assert found["weights"] == pytest.approx(0.01)
    with pytest.raises(BenchFailed, match=r"losses differ by at most 1\.0e-01"):
        check.compare(([2.0, 1.0], ways), ([2.0, 1.1], ways))
    with pytest.raises(BenchFailed, match="captured steps differ from eager steps"):
        check.compare(([1.0], ways), ([1.0], ways * math.nan))


@pytest.mark.cuda
def test_the_captured_step_is_the_eager_step():
    case = Case(8, True, 16, "fp32")
    found = check.check_captured(case.run({"every": 5}), case.images(), torch.device("cuda"))
    assert found["steps"] == check.STEPS
