"""The warm-up of the papers: a low rate at the start.

It lasts until the train error is below a bound (He et al. 2015, arXiv:1512.03385, sec. 4.2), or for a number
of steps (He et al. 2016, arXiv:1603.05027, appendix)."""

from collections.abc import Mapping
from typing import Any

from depthbench.training.settings import Recipe
from depthbench.training.warmups.warmup import Warmup

WINDOW = 100  # steps over which the train error (on the fly) is averaged


class Hold(Warmup):
    """The rate is at most `hold_lr`, for networks of `hold_from_depth` or more layers.

    With `hold_steps` it ends after that number of steps. Otherwise it ends after the first window of steps
    whose mean train error is below `hold_until_train_error` (percent). Windows are WINDOW steps long and do
    not overlap."""

    def __init__(self, recipe: Recipe, depth: int):
        super().__init__(recipe, depth)
        applies = depth >= recipe.hold_from_depth
        self.steps_held = (recipe.hold_steps or 0) if applies else 0
        self.holding = applies and recipe.hold_steps is None  # by the train error
        self.total, self.seen = 0.0, 0  # of this window: percent x steps, and steps

    def rate(self, step: int, scheduled: float) -> float:
        is_held = self.holding or step < self.steps_held
        return min(self.recipe.hold_lr, scheduled) if is_held else scheduled

    def needs_row(self, step: int) -> bool:
        return self.holding and step % WINDOW == 0

    def see(self, row: Mapping[str, Any]) -> None:
        if not self.holding:
            return
        steps = (row["step"] - 1) % WINDOW + 1 - self.seen  # since the last row
        self.total, self.seen = self.total + row["train_error"] * steps, self.seen + steps
        if self.seen == WINDOW:
            self.holding = self.total / WINDOW >= self.recipe.hold_until_train_error
            self.total, self.seen = 0.0, 0

    def state(self) -> dict[str, Any]:
        return {"holding": self.holding, "total": self.total, "steps": self.seen}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.holding, self.total, self.seen = state["holding"], state["total"], state["steps"]
