"""The interface of a warm-up."""

from collections.abc import Mapping
from typing import Any

from depthbench.training.settings import Recipe


class Warmup:
    """A rule that changes the rate of the first steps. This one changes nothing."""

    steps = 0
    """Its length, if it is known in advance. The schedule starts after it."""

    def __init__(self, recipe: Recipe, depth: int):
        self.recipe, self.depth = recipe, depth

    def rate(self, step: int, scheduled: float) -> float:
        """Return the learning rate of update `step`. `scheduled` is the rate of the schedule."""
        return scheduled

    def needs_row(self, step: int) -> bool:
        """Return whether the history row of `step` must be seen before the next update."""
        return False

    def see(self, row: Mapping[str, Any]) -> None:
        """Process a history row. Every logged row is seen once, in order."""

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint: plain values only."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to `state`."""
