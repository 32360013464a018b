"""Schedules that depend on the step alone."""

import math

from depthbench.training.schedules.schedule import Schedule, in_steps


class Constant(Schedule):
    """The rate of the recipe."""

    def rate(self, step: int) -> float:
        return self.recipe.lr


class Step(Schedule):
    """The rate is multiplied by `gamma` at each of `milestones` (He et al. 2015, sec. 4.2)."""

    def rate(self, step: int) -> float:
        passed = sum(step >= in_steps(milestone, self.recipe) for milestone in self.recipe.milestones)
        return self.recipe.lr * self.recipe.gamma**passed


class Cosine(Schedule):
    """Half a cosine from the end of the warm-up to zero after the last step.

    It is one period of Loshchilov and Hutter 2017 (arXiv:1608.03983, eq. 5)."""

    def rate(self, step: int) -> float:
        length = max(1, (self.recipe.steps or 0) - self.start)
        return self.recipe.lr * 0.5 * (1 + math.cos(math.pi * (step - self.start) / length))
