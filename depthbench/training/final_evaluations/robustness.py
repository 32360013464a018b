"""Test errors on corrupted images, at several strengths (data/corruptions)."""

from collections.abc import Mapping

import pandas as pd

from depthbench.data.corruptions import CORRUPTIONS
from depthbench.data.corruptions.corrupted import Corrupted
from depthbench.data.images import chance_error
from depthbench.study.model import Run
from depthbench.training.evaluate import percent_wrong, predict
from depthbench.training.final_evaluations.evaluation import (
    FinalEvaluation,
    Notify,
    Outcome,
    ShouldStop,
    TrainedNetwork,
)


def evaluate(trained: TrainedNetwork, should_stop: ShouldStop, notify: Notify) -> Outcome | None:
    """Return the test error (percent) for each strength of each corruption of `run.evaluate.robustness`.

    Strength 0 means clean images, whose predictions are known."""
    y, names = trained.y, trained.run.evaluate.robustness
    clean = percent_wrong(trained.predicted, y)
    errors = {}
    for name in names:
        errors[name, 0.0] = clean
        for strength in CORRUPTIONS[name].strengths:
            notify(f"test images: {name}, strength {strength:g}")
            sets = {"test": (Corrupted(trained.x, name, strength, trained.white), y)}
            predicted = predict(
                trained.network,
                sets,
                trained.scaling,
                precision=trained.precision,
                should_stop=should_stop,
                team=trained.team,
            )
            if predicted is None:
                return None
            errors[name, float(strength)] = percent_wrong(predicted["test"], y)
    return Outcome(table=_table(errors))


def at_chance(run: Run, classes: int) -> Outcome:
    """Return the same table for a network that guesses."""
    strengths = (
        (name, float(s)) for name in run.evaluate.robustness for s in (0, *CORRUPTIONS[name].strengths)
    )
    return Outcome(table=_table(dict.fromkeys(strengths, chance_error(classes))))


def _table(errors: Mapping[tuple[str, float], float]) -> pd.DataFrame:
    rows = [(name, strength, error) for (name, strength), error in errors.items()]
    return pd.DataFrame(rows, columns=["corruption", "strength", "test_error"])


EVALUATION = FinalEvaluation(
    applies=lambda run: bool(run.evaluate.robustness),
    evaluate=evaluate,
    at_chance=at_chance,
    passes=lambda run: sum(len(CORRUPTIONS[name].strengths) for name in run.evaluate.robustness),
)
