"""The papers' warm-up rules: a low rate until the train error is below a bound (He et al. 2015, sec. 4.2), or
for so many steps (He et al. 2016, arXiv:1603.05027)."""

from typing import Any

from depthbench.study.model import Run

WINDOW = 100  # steps over which the train error, on the fly, is taken


class Hold:
    """Whether a run is still at its low rate. By the train error it decides at the end of each window."""

    def __init__(self, run: Run):
        applies = run.recipe.warmup == "hold" and run.depth >= run.recipe.hold_from_depth
        self.steps_held = (run.recipe.hold_steps or 0) if applies else 0
        self.holding = applies and run.recipe.hold_steps is None  # by the train error
        self.bound = run.recipe.hold_until_train_error
        self.total, self.steps = 0.0, 0  # percent x steps, steps: of this window

    def holds_at(self, step: int) -> bool:
        """Whether update `step` (0 is the first) is made at the low rate."""
        return self.holding or step < self.steps_held

    def decides_at(self, step: int) -> bool:
        """Whether the train error up to `step` must be known before the next step is made."""
        return self.holding and step % WINDOW == 0

    def see(self, step: int, steps: int, train_error: float) -> None:
        """Take note of the train error (%) of the `steps` that end with `step`."""
        if not self.holding:
            return
        self.total, self.steps = self.total + train_error * steps, self.steps + steps
        if step % WINDOW == 0:
            self.holding = self.total / self.steps >= self.bound
            self.total, self.steps = 0.0, 0

    def state(self) -> dict[str, Any]:
        return {"holding": self.holding, "total": self.total, "steps": self.steps}

    def restore(self, state: dict[str, Any]) -> None:
        self.holding, self.total, self.steps = state["holding"], state["total"], state["steps"]
