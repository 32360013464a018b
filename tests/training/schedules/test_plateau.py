import math

import pytest

from depthbench.training.schedules.plateau import Plateau
from depthbench.training.settings import Recipe


def see(plateau, *errors, val=False):
    """Return the rate after each evaluation. After each of them a row without evaluation is seen."""
    rates = []
    for error in errors:
        plateau.see({"train_error_eval": 50.0 if val else error, "val_error": error if val else math.nan})
        plateau.see({"train_error_eval": math.nan, "val_error": math.nan})
        rates.append(plateau.rate(0))
    return rates


@pytest.mark.parametrize("val", [False, True])
def test_the_rate_falls_after_evaluations_without_a_lower_error(val):
    plateau = Plateau(Recipe(schedule="plateau", plateau_patience=2, lr=1.0, gamma=0.5))
    errors = [90.0, 80.0, 80.0, 79.0, 85.0, 79.5, 78.9, 78.9, 78.9, 78.9, 78.9]
    drops = [0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 3]
    assert see(plateau, *errors, val=val) == [0.5**number for number in drops]
