"""A captured step that differs from the eager step, or gives NaN, is an error."""

import math

import pytest
import torch

from depthbench.bench import BenchFailed, check
from depthbench.bench.case import Case


def test_a_difference_beyond_the_tolerance_is_an_error():
    change = torch.ones(100, dtype=torch.float64)
    difference = check.compare(([2.0, 1.0], change), ([2.001, 1.0], change * 1.01))
    assert difference.loss == pytest.approx(5e-4)
    assert difference.weights == pytest.approx(0.01)
    with pytest.raises(BenchFailed, match=r"at most 1\.0e-01 in the losses"):
        check.compare(([2.0, 1.0], change), ([2.0, 1.1], change))
    with pytest.raises(BenchFailed, match="captured steps differ from eager steps"):
        check.compare(([1.0], change), ([1.0], change * math.nan))


@pytest.mark.cuda
def test_the_captured_step_equals_the_eager_step():
    case = Case(8, True, 16, "fp32")
    difference = check.check_captured(case.run({"every": 5}), case.images(), torch.device("cuda"))
    assert difference.steps == check.STEPS
