import math

import pytest

from depthbench.study.model import Recipe
from depthbench.training.plateau import Plateau


def see(plateau, *errors, val=False):
    """Evaluations, and after each a row that was logged only; the drops after each evaluation."""
    drops = []
    for error in errors:
        plateau.see({"train_error_eval": 50.0 if val else error, "val_error": error if val else math.nan})
        plateau.see({"train_error_eval": math.nan, "val_error": math.nan})
        drops.append(plateau.drops)
    return drops


def make(patience=2, schedule="plateau"):
    return Plateau(Recipe(schedule=schedule, plateau_patience=patience))


@pytest.mark.parametrize("val", [False, True])
def test_the_rate_is_lowered_after_so_many_evaluations_without_a_lower_error(val):
    errors = [90.0, 80.0, 80.0, 79.0, 85.0, 79.5, 78.9, 78.9, 78.9, 78.9, 78.9]
    assert see(make(), *errors, val=val) == [0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 3]


def test_other_schedules_know_no_plateau():
    assert see(make(patience=1, schedule="constant"), 50.0, 50.0, 50.0) == [0, 0, 0]


def test_its_state_can_be_taken_back():
    plateau, other = make(), make()
    see(plateau, 50.0, 40.0, 45.0)
    other.restore(plateau.state())
    assert see(other, 41.0, 41.0, 39.0) == see(plateau, 41.0, 41.0, 39.0) == [1, 1, 1]
    assert other.state() == plateau.state()
