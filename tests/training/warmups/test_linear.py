import pytest

from depthbench.training.settings import Recipe
from depthbench.training.warmups.linear import Linear


def rates(at, **recipe):
    """Return the rates of these updates where the schedule has a rate of 0.1."""
    rule = Linear(Recipe(**{"steps": 40, "lr": 0.4} | recipe), depth=8)
    return [rule.rate(step, 0.1) for step in at]


@pytest.mark.parametrize("length", [0.1, 4])  # a fraction of 40 steps, or steps
def test_the_last_step_of_the_warm_up_has_the_rate_of_the_recipe(length):
    assert rates(range(5), warmup_steps=length) == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.1])


def test_a_warm_up_longer_than_the_run_never_reaches_the_rate():
    assert max(rates(range(40), warmup_steps=80)) == pytest.approx(0.2)


def test_a_warm_up_that_rounds_to_no_step_changes_nothing():
    assert rates([0], steps=3, warmup_steps=0.1) == [0.1]
