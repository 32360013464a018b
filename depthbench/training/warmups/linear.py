"""A linear warm-up."""

from depthbench.training.schedules.schedule import in_steps
from depthbench.training.settings import Recipe
from depthbench.training.warmups.warmup import Warmup


class Linear(Warmup):
    """The rate rises linearly from 0 to `lr` in `warmup_steps`."""

    def __init__(self, recipe: Recipe, depth: int):
        super().__init__(recipe, depth)
        self.steps = in_steps(recipe.warmup_steps, recipe)

    def rate(self, step: int, scheduled: float) -> float:
        return self.recipe.lr * (step + 1) / self.steps if step < self.steps else scheduled
