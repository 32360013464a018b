import pytest

from depthbench.training.learning_rate import LearningRate
from depthbench.training.settings import Recipe


def rates(at, depth=8, **recipe):
    rule = LearningRate(Recipe(**{"steps": 64_000, "warmup": "none"} | recipe), depth)
    return [rule.rate(step) for step in at]


def test_a_linear_warm_up_comes_before_the_schedule():
    recipe = {"steps": 100, "schedule": "cosine", "warmup": "linear", "warmup_steps": 0.1}
    assert rates([0, 4, 9, 10, 55], **recipe) == pytest.approx([0.01, 0.05, 0.1, 0.1, 0.05])


def test_holding_is_the_papers_warm_up_and_never_raises_the_rate():
    held = {"steps": 100, "warmup": "hold", "hold_from_depth": 8}
    assert rates([0], **held) == [0.01]
    assert rates([0], depth=7, **held) == [0.1]
    assert rates([0], lr=0.001, **held) == [0.001]
    assert rates([99], **held) == pytest.approx([0.001])  # nor that of the schedule
