import pytest

from depthbench.training.learning_rate import LearningRate
from depthbench.training.settings import Recipe


def rates(at, depth=8, **recipe):
    rule = LearningRate(Recipe(**{"steps": 64_000, "warmup": "none"} | recipe), depth)
    return [rule.rate(step) for step in at]


def test_the_papers_schedule_divides_by_ten_at_32k_and_48k():
    assert rates([0, 31_999, 32_000, 47_999, 48_000, 63_999]) == pytest.approx(
        [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]
    )


def test_milestones_may_be_steps():
    assert rates([99, 100, 200], steps=300, milestones=[100.0, 200.0], lr=1.0) == pytest.approx(
        [1, 0.1, 0.01]
    )


def test_milestones_scale_with_a_shorter_run():
    assert rates([99, 100, 150], steps=200) == pytest.approx([0.1, 0.01, 0.001])


def test_cosine_falls_from_the_rate_to_zero():
    first, middle, last = rates([0, 50, 100], steps=100, schedule="cosine")
    assert (first, middle) == pytest.approx((0.1, 0.05))
    assert last == pytest.approx(0, abs=1e-12)


def test_a_linear_warm_up_comes_before_the_schedule():
    recipe = {"steps": 100, "schedule": "cosine", "warmup": "linear", "warmup_steps": 0.1}
    assert rates([0, 4, 9, 10, 55], **recipe) == pytest.approx([0.01, 0.05, 0.1, 0.1, 0.05])


def test_holding_is_the_papers_warm_up_and_never_raises_the_rate():
    held = {"steps": 100, "warmup": "hold", "hold_from_depth": 8}
    assert rates([0], **held) == [0.01]
    assert rates([0], depth=7, **held) == [0.1]
    assert rates([0], lr=0.001, **held) == [0.001]
    assert rates([99], **held) == pytest.approx([0.001])  # nor that of the schedule


def test_constant_is_constant():
    assert set(rates(range(0, 64_000, 1000), schedule="constant")) == {0.1}
