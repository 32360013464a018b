import pytest

from depthbench.training.settings import Recipe
from depthbench.training.warmups.hold import WINDOW, Hold


def make(depth=8, **recipe):
    """Return a warm-up for 8 layers or more that holds until the train error is below 80 %."""
    return Hold(Recipe(hold_from_depth=8, hold_until_train_error=80.0, **recipe), depth)


def see(hold, *rows):
    for step, train_error in rows:
        hold.see({"step": step, "train_error": train_error})


@pytest.fixture
def hold():
    return make()


def test_a_shallow_network_is_never_held():
    hold = make(depth=7)
    assert hold.rate(0, 0.1) == 0.1
    assert not hold.needs_row(WINDOW)


def test_the_warm_up_ends_after_a_window_with_a_low_mean_error(hold):
    see(hold, (40, 90.0), (WINDOW, 79.0))  # 83.4 % over the window
    assert hold.holding
    see(hold, (150, 70.0))
    assert hold.holding  # not before the end of the window
    assert hold.needs_row(2 * WINDOW)
    see(hold, (2 * WINDOW, 89.0))  # 79.5 %: the first window no longer counts
    assert not hold.holding


def test_an_error_equal_to_the_bound_does_not_end_the_warm_up(hold):
    see(hold, (WINDOW, 80.0))
    assert hold.holding


def test_a_state_in_the_middle_of_a_window_is_restored(hold):
    see(hold, (40, 100.0))
    state = hold.state()
    see(hold, (WINDOW, 70.0))
    assert hold.holding  # 82 %
    see(hold, (2 * WINDOW, 0.0))
    assert not hold.holding
    hold.restore(state)
    assert hold.holding
    see(hold, (WINDOW, 60.0))
    assert not hold.holding  # 76 %, including rows seen before the state was saved


def test_hold_steps_hold_whatever_the_error():
    hold = make(hold_steps=5)
    assert [hold.rate(step, 0.1) for step in (0, 4, 5)] == [0.01, 0.01, 0.1]
    assert not hold.needs_row(WINDOW)
    see(hold, (WINDOW, 100.0))
    assert hold.rate(WINDOW, 0.1) == 0.1
    assert make(depth=7, hold_steps=5).rate(0, 0.1) == 0.1


def test_a_window_must_be_complete_before_the_warm_up_ends(hold):
    assert hold.rate(10 * WINDOW, 0.1) == 0.01
    see(hold, (WINDOW, 0.0))
    assert hold.rate(WINDOW, 0.1) == 0.1
