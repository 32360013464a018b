"""The learning rate of each step of a run: its warm-up, then its schedule."""

from collections.abc import Mapping
from typing import Any

from depthbench.registry import look_up
from depthbench.training.schedules import SCHEDULES
from depthbench.training.schedules.schedule import Schedule
from depthbench.training.settings import Recipe
from depthbench.training.warmups import WARMUPS
from depthbench.training.warmups.warmup import Warmup


class LearningRate:
    """The learning rate of a network of `depth` that is trained by `recipe`."""

    def __init__(self, recipe: Recipe, depth: int):
        self.warmup: Warmup = look_up(WARMUPS, "warm-up", recipe.warmup)(recipe, depth)
        self.schedule: Schedule = look_up(SCHEDULES, "schedule", recipe.schedule)(recipe, self.warmup.steps)

    def rate(self, step: int) -> float:
        """Return the rate of update `step`. Step 0 is the first."""
        return self.warmup.rate(step, self.schedule.rate(step))

    def needs_row(self, step: int) -> bool:
        """Return whether the history row of `step` must be seen before the next update."""
        return self.warmup.needs_row(step)

    def see(self, row: Mapping[str, Any]) -> None:
        """Process a history row."""
        self.warmup.see(row)
        self.schedule.see(row)

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {"warmup": self.warmup.state(), "schedule": self.schedule.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to `state`."""
        self.warmup.restore(state["warmup"])
        self.schedule.restore(state["schedule"])
