import pytest

from depthbench.training.hold import WINDOW, Hold


@pytest.fixture
def hold(tiny):
    """A hold of a run of 8 layers that is held from 8 layers on, until the train error is below 80 %."""
    recipe = {"warmup": "hold", "hold_from_depth": 8, "hold_until_train_error": 80.0}
    return Hold(next(tiny(recipe=recipe).runs()))


def test_a_shallow_network_is_never_held(tiny):
    hold = Hold(next(tiny(recipe={"warmup": "hold", "hold_from_depth": 9}).runs()))
    assert not hold.holding
    assert not hold.decides_at(WINDOW)


def test_it_ends_at_the_end_of_a_window_that_was_good_enough_on_average(hold):
    hold.see(40, 40, 90.0)
    hold.see(WINDOW, 60, 79.0)  # 83.4 % over the window
    assert hold.holding
    hold.see(150, 50, 70.0)
    assert hold.holding  # not before the window's end
    assert hold.decides_at(2 * WINDOW)
    hold.see(2 * WINDOW, 50, 89.0)  # 79.5 %: the first window is forgotten
    assert not hold.holding


def test_the_bound_itself_is_not_below_it(hold):
    hold.see(WINDOW, WINDOW, 80.0)
    assert hold.holding


def test_its_state_can_be_taken_back_in_the_middle_of_a_window(hold, tiny):
    hold.see(40, 40, 100.0)
    state = hold.state()
    hold.see(WINDOW, 60, 70.0)
    assert hold.holding  # 82 %
    hold.see(2 * WINDOW, WINDOW, 0.0)
    assert not hold.holding
    hold.restore(state)
    assert hold.holding
    hold.see(WINDOW, 60, 60.0)
    assert not hold.holding  # 76 %, with what was seen before the state was taken


def test_so_many_steps_are_held_whatever_the_error(tiny):
    recipe = {"warmup": "hold", "hold_from_depth": 8, "hold_steps": 5}
    hold = Hold(next(tiny(recipe=recipe).runs()))
    assert [hold.holds_at(step) for step in (0, 4, 5)] == [True, True, False]
    assert not hold.decides_at(WINDOW)
    hold.see(WINDOW, WINDOW, 100.0)
    assert not hold.holds_at(WINDOW)
    shallow = Hold(next(tiny(recipe=recipe | {"hold_from_depth": 9}).runs()))
    assert not shallow.holds_at(0)


def test_by_the_error_it_holds_until_it_has_decided(hold):
    assert hold.holds_at(10 * WINDOW)
    hold.see(WINDOW, WINDOW, 0.0)
    assert not hold.holds_at(WINDOW)
