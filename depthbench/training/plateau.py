"""The rate is lowered when the error plateaus (He et al. 2015, arXiv:1512.03385, sec. 3.4)."""

import math
from collections.abc import Mapping
from typing import Any

from depthbench.study.model import Recipe


class Plateau:
    """How often the rate of a run was lowered. It looks at each evaluation: at the validation error, or,
    where there is none, at the train error in evaluation mode; never at the test error."""

    def __init__(self, recipe: Recipe):
        self.patience = recipe.plateau_patience if recipe.schedule == "plateau" else math.inf
        self.drops = 0
        self.lowest = math.inf  # percent
        self.waited = 0  # evaluations since the lowest error, or since the last drop

    def see(self, row: Mapping[str, Any]) -> None:
        """Take note of a history row; one that was not evaluated says nothing."""
        error = row["train_error_eval"] if math.isnan(row["val_error"]) else row["val_error"]
        if math.isnan(error):
            return
        if error < self.lowest:
            self.lowest, self.waited = error, 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            self.drops, self.waited = self.drops + 1, 0

    def state(self) -> dict[str, Any]:
        return {"drops": self.drops, "lowest": self.lowest, "waited": self.waited}

    def restore(self, state: dict[str, Any]) -> None:
        self.drops, self.lowest, self.waited = state["drops"], state["lowest"], state["waited"]
