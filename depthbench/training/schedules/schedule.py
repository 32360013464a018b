"""The interface of a schedule."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from depthbench.training.settings import Recipe


class Schedule(ABC):
    """The learning rate of each step after the warm-up. A schedule without a state needs only `rate`."""

    def __init__(self, recipe: Recipe, start: int = 0):
        """`start` is the first step after a warm-up of known length. Step 0 is the first."""
        self.recipe, self.start = recipe, start

    @abstractmethod
    def rate(self, step: int) -> float:
        """Return the learning rate of update `step`."""

    def see(self, row: Mapping[str, Any]) -> None:  # noqa: B027 - not abstract, because it is optional
        """Process a history row. Every logged row is seen once, in order."""

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint: plain values only."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:  # noqa: B027 - as above
        """Go back to `state`."""


def in_steps(number: float, recipe: Recipe) -> int:
    """Return `number` as a number of steps. A number below 1 is a fraction of all steps."""
    return round(number * (recipe.steps or 0)) if number < 1 else round(number)
