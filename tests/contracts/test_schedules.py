"""Contract of every entry of SCHEDULES and WARMUPS, in every combination."""

import itertools
import json
import math

import pytest

from depthbench.training.learning_rate import LearningRate
from depthbench.training.schedules import SCHEDULES
from depthbench.training.settings import Recipe
from depthbench.training.warmups import WARMUPS

STEPS = 240
every_combination = pytest.mark.parametrize(
    ("schedule", "warmup"), list(itertools.product(SCHEDULES, WARMUPS))
)


def learning_rate(schedule, warmup):
    recipe = Recipe(
        steps=STEPS, lr=0.5, schedule=schedule, warmup=warmup, hold_from_depth=8, plateau_patience=1
    )
    return LearningRate(recipe, depth=8)


def row(step):
    """Return a history row of a run that learns at first and then stops learning."""
    error = max(30.0, 95.0 - step / 4)
    return {"step": step, "train_error": error, "train_error_eval": error, "val_error": math.nan}


def rates(rule, first=0, last=STEPS):
    """Return the rates of updates `first` to `last`, with a row after every 20."""
    taken = []
    for step in range(first, last):
        taken.append(rule.rate(step))
        if (step + 1) % 20 == 0:
            rule.see(row(step + 1))
    return taken


@pytest.mark.parametrize("entry", [*SCHEDULES.values(), *WARMUPS.values()], ids=[*SCHEDULES, *WARMUPS])
def test_it_documents_itself(entry):
    assert entry.about
    assert entry.load().__doc__


@every_combination
def test_rates_are_finite_positive_and_at_most_that_of_the_recipe(schedule, warmup):
    taken = rates(learning_rate(schedule, warmup))
    assert all(0 < rate <= 0.5 for rate in taken)


@every_combination
def test_rates_depend_on_nothing_but_the_rows(schedule, warmup):
    assert rates(learning_rate(schedule, warmup)) == rates(learning_rate(schedule, warmup))


@every_combination
@pytest.mark.parametrize("stop", [0, 7, 60, 150])
def test_a_restored_state_gives_the_same_rates(schedule, warmup, stop):
    expected = rates(learning_rate(schedule, warmup))
    first, second = learning_rate(schedule, warmup), learning_rate(schedule, warmup)
    before = rates(first, 0, stop)
    second.restore(json.loads(json.dumps(first.state())))
    assert before + rates(second, stop) == expected


@every_combination
def test_it_names_no_row_that_it_does_not_need(schedule, warmup):
    rule = learning_rate(schedule, warmup)
    needed = [step for step in range(1, STEPS) if rule.needs_row(step)]
    assert all(step % 20 == 0 for step in needed)
