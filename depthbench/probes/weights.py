"""The weights that layers multiply with, some of which are computed from parameters in each step."""

from collections.abc import Callable, Sequence
from typing import Any, cast

from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from depthbench.networks.layers import ComputedConv2d, Layer

Hook = Callable[[nn.Module, tuple[Any, ...], Any], None]


class StepWeights:
    """The weights of `layers` in one step.

    `mean_of_ranks` returns the gradient of a computed weight from that of this process. Gradients of
    parameters are averaged already."""

    def __init__(self, layers: Sequence[Layer], mean_of_ranks: Callable[[Tensor], Tensor]):
        self._layers, self._mean_of_ranks = layers, mean_of_ranks
        self.computed: dict[int, Tensor] = {}
        """Layer -> its weight, if it was computed from parameters."""

    def clear(self) -> None:
        """Forget the step."""
        self.computed.clear()

    def all(self) -> dict[int, Tensor]:
        """Return the weights that the layers multiply with, each with its gradient."""
        weights = {index: layer.weight for index, layer in enumerate(self._layers)}
        found = {index: self.computed.get(index) if w is None else w for index, w in weights.items()}
        return {index: weight for index, weight in found.items() if weight is not None}

    def follow(self, add: Callable[[nn.Module, Hook], None]) -> None:
        """Collect the gradients of the weights that are computed from parameters.

        add: a function that adds a hook to a module for the step."""
        for index, layer in enumerate(self._layers):
            if layer.weight is None:
                self._follow(index, layer.weighted, add)

    def _follow(self, index: int, layer: nn.Module, add: Callable[[nn.Module, Hook], None]) -> None:
        """Collect the gradient of a weight that is computed in the step, perhaps several times."""

        def follow(weight: Tensor) -> None:
            effective = self.computed.setdefault(index, weight.detach())

            def collect(gradient: Tensor) -> None:
                mean = self._mean_of_ranks(gradient)
                effective.grad = mean if effective.grad is None else effective.grad + mean

            if weight.requires_grad:
                weight.register_hook(collect)

        if is_parametrized(layer, "weight"):
            computing = cast("nn.ModuleDict", layer.parametrizations)["weight"]
            add(computing, lambda module, inputs, output: follow(output))
        elif isinstance(layer, ComputedConv2d):
            add(layer.in_use, lambda module, inputs, output: follow(output))
        else:  # a hook of the older weight_norm or spectral_norm has computed it
            add(layer, lambda module, inputs, output: follow(cast("Tensor", module.weight)))
