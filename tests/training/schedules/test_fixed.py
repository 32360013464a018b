import pytest

from depthbench.training.schedules import SCHEDULES
from depthbench.training.settings import Recipe


def rates(at, start=0, schedule="step", **recipe):
    """Return the rates of these updates, with a warm-up of `start` steps before the schedule."""
    rule = SCHEDULES[schedule](Recipe(**{"steps": 64_000} | recipe), start)
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


def test_constant_is_constant():
    assert set(rates(range(0, 64_000, 1000), schedule="constant")) == {0.1}


def test_a_milestone_of_one_is_a_step_and_not_all_steps():
    assert rates([0, 1], steps=100, milestones=[1.0], lr=1.0) == pytest.approx([1, 0.1])


def test_milestones_count_in_any_order_and_from_the_first_step_of_the_run():
    ordered = rates(range(100), start=30, steps=100, milestones=[0.2, 0.5])
    assert rates(range(100), start=30, steps=100, milestones=[0.5, 0.2]) == ordered
    assert len(set(ordered[:20])) == 1
    assert ordered[20] < ordered[19]


def test_cosine_starts_after_the_warm_up_and_is_symmetrical():
    steps, start = 100, 20
    taken = rates(range(start, steps + 1), start, schedule="cosine", steps=steps, lr=1.0)
    assert taken[0] == 1.0
    assert [a + b for a, b in zip(taken, reversed(taken), strict=True)] == pytest.approx([1.0] * 81)
    assert taken == sorted(taken, reverse=True)


def test_cosine_survives_a_warm_up_as_long_as_the_run():
    assert rates([10], start=10, schedule="cosine", steps=10) == [0.1]
