"""The predicted class of each test image."""

import numpy as np
import pandas as pd

from depthbench.training.final_evaluations.evaluation import (
    FinalEvaluation,
    Notify,
    Outcome,
    ShouldStop,
    TrainedNetwork,
)


def tabulate(trained: TrainedNetwork, should_stop: ShouldStop, notify: Notify) -> Outcome:
    """Return one row per test input, in the order of the data set: `label` and `predicted`, class indices.

    Next tokens are too many to store, and have no table."""
    if trained.y.dim() == 2:
        return Outcome()
    columns = {"label": trained.y.cpu().numpy(), "predicted": trained.predicted.cpu().numpy()}
    return Outcome(table=pd.DataFrame(columns, dtype=np.min_scalar_type(trained.classes - 1)))


EVALUATION = FinalEvaluation(
    applies=lambda run: True,
    evaluate=tabulate,
    at_chance=lambda run, classes: Outcome(),  # a diverged run has no predictions
)
