"""Probes of two tensors: the gradients of two steps, or a weight before and after an update."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from depthbench.probes.kept import KeptGradients
from depthbench.probes.probe import Probe, probes_of
from depthbench.probes.uses import Key


class Pairs:
    """The first tensor of each pair, kept from step to step, and the values of one step."""

    def __init__(self, probes: Mapping[str, Probe]):
        self._of_gradients = probes_of(probes, "weight_gradients")
        self._of_updates = probes_of(probes, "weight_update")
        self.kept = KeptGradients()
        self.values: dict[Key, Tensor] = {}
        """The values of this step. Those of updates are NaN until `of_updates` measures them."""
        self.before: dict[int, Tensor] = {}
        """Layer -> its weight before the update, if a probe compares it."""
        self._earlier: dict[str, Tensor] | None = None  # gradients of the step before, taken on first need

    @property
    def compares_gradients(self) -> bool:
        """Whether a probe compares the gradients of two steps."""
        return bool(self._of_gradients)

    def clear(self) -> None:
        """Forget the values of the step, but not the weights before its update."""
        self.values.clear()
        self._earlier = None

    def earlier(self) -> dict[str, Tensor]:
        """Return the gradients of the previous step, by layer. Later steps cannot get them.

        They are taken when they are needed, so a step that is interrupted earlier can be repeated."""
        if self._earlier is None:
            self._earlier = self.kept.take()
        return self._earlier

    def compare(self, weights: Mapping[int, Tensor], names: Sequence[str]) -> None:
        """Measure the pairs of gradients, and keep the weights for the probes of the update.

        weights: layer -> its weight, with a gradient. names: the names of all layers."""
        for name, probe in self._of_gradients.items():
            for index, weight in weights.items():
                before = self.earlier().get(names[index])
                if before is not None and weight.grad is not None:
                    self.values[index, name] = probe.measure(before, weight.grad)
        if self._of_updates:
            self.before |= {index: weight.detach().clone() for index, weight in weights.items()}
        for name in self._of_updates:
            self.values |= {
                (index, name): torch.full((), float("nan"), device=weight.device)
                for index, weight in weights.items()
            }

    def of_updates(self, current: Callable[[int], Tensor]) -> dict[Key, Tensor]:
        """Return the values of the probes of updates, and forget the weights before them.

        current: a function that returns the weight of a layer after the update."""
        before, self.before = self.before, {}
        return {
            (index, name): probe.measure(weight, current(index))
            for name, probe in self._of_updates.items()
            for index, weight in before.items()
        }
