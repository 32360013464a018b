"""The rate falls when the error reaches a plateau (He et al. 2015, arXiv:1512.03385, sec. 3.4)."""

import math
from collections.abc import Mapping
from typing import Any

from depthbench.training.schedules.schedule import Schedule
from depthbench.training.settings import Recipe


class Plateau(Schedule):
    """The rate is multiplied by `gamma` after `plateau_patience` evaluations without a lower error.

    The error is the validation error, or the train error in evaluation mode if there is no validation set. It
    is never the test error."""

    def __init__(self, recipe: Recipe, start: int = 0):
        super().__init__(recipe, start)
        self.drops = 0
        self.lowest = math.inf  # percent
        self.waited = 0  # evaluations since the lowest error or the last drop

    def rate(self, step: int) -> float:
        return self.recipe.lr * self.recipe.gamma**self.drops

    def see(self, row: Mapping[str, Any]) -> None:
        error = row["train_error_eval"] if math.isnan(row["val_error"]) else row["val_error"]
        if math.isnan(error):  # the row was logged without an evaluation
            return
        if error < self.lowest:
            self.lowest, self.waited = error, 0
            return
        self.waited += 1
        if self.waited >= self.recipe.plateau_patience:
            self.drops, self.waited = self.drops + 1, 0

    def state(self) -> dict[str, Any]:
        return {"drops": self.drops, "lowest": self.lowest, "waited": self.waited}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.drops, self.lowest, self.waited = state["drops"], state["lowest"], state["waited"]
