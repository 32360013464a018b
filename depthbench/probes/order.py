"""The order of use, which numbers the layers of a network without `weighted_layers()`.

A forward pass also shows which of them is the classifier."""

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.utils.hooks import RemovableHandle

from depthbench.networks.layers import Layer, staged
from depthbench.probes.columns import NOT_MEASURED, SELECTED_BY, USE
from depthbench.probes.ending import Ending
from depthbench.probes.own_module import after_forward

if TYPE_CHECKING:
    import pandas as pd


class OrderOfUse:
    """The order in which forward passes of `network` first use `layers`.

    A layer that a pass uses for the first time, e.g. after stochastic depth skipped it, comes right after the
    layer that this pass used before it. Layers that were never used come last, as registered.

    The layer that ends the network is the last one that reaches the logits through no other layer. If no
    logits were seen, it is the last layer that was used."""

    def __init__(self, layers: Sequence[Layer], network: nn.Module):
        self._layers, self._network = list(layers), network
        self._ending, self._end = Ending(self._layers), -1  # -1: unknown
        self._known: list[int] = []  # indices into layers
        self._pass: dict[int, None] = {}  # indices used in the current step, in the order of first calls
        self._gradients: dict[int, None] = {}  # the same, in the order in which weights get gradients

    @property
    def order(self) -> list[int]:
        """The indices of all layers, input side first."""
        return [*self._known, *sorted(set(range(len(self._layers))) - set(self._known))]

    def numbered(self) -> tuple[list[Layer], list[int]]:
        """Return all layers, in the order of registration, with stages, and their numbers, from 1."""
        numbers = [0] * len(self._layers)
        for number, index in enumerate(self.order, 1):
            numbers[index] = number
        used = self._known or self.order
        end = self._end if self._end in used else used[-1]
        return staged(self._layers, end if len(used) > 1 else None), numbers

    def hooks(self, is_repeated: Callable[[], bool]) -> list[RemovableHandle]:
        """Add hooks that follow the calls and gradients of layers in a step. Forget the previous step.

        is_repeated: whether a call does not count, e.g. because it computes activations again."""
        self._pass, self._gradients = {}, {}
        indices: dict[nn.Module, list[int]] = {}
        for index, layer in enumerate(self._layers):
            indices.setdefault(layer.weighted, []).append(index)
        for module, own in list(indices.items()):
            if isinstance(module, nn.MultiheadAttention):  # does not call its output projection
                own += indices.pop(module.out_proj, [])

        def follow(module: nn.Module, inputs: object, output: Any) -> None:
            if not is_repeated():
                self._pass.update(dict.fromkeys(indices[module]))
                self._ending.note(indices[module][-1], output)

        handles = [after_forward(module, follow) for module in indices]
        handles += self._ending.hooks(self._network)
        for index, layer in enumerate(self._layers):
            handles += [
                parameter.register_hook(lambda gradient, index=index: self._gradients.setdefault(index))
                for parameter in layer.weight_parameters
                if parameter.requires_grad
            ]
        return handles

    def end_pass(self) -> bool:
        """Learn the order of a step after its backward pass. Return whether the order or its end changed.

        The backward pass shows the place of a weight that was used without a call of its layer: the weight
        gets its gradient just after the layer that follows it."""
        before = [*self._known, self._end]
        called = list(self._pass)
        parameters = {id(p) for index in called for p in self._layers[index].weight_parameters}
        follower = None
        for index in self._gradients:
            if index not in called and parameters.isdisjoint(map(id, self._layers[index].weight_parameters)):
                called.insert(len(called) if follower is None else called.index(follower), index)
            follower = index if index in called else follower
        for place, index in enumerate(called):
            if index not in self._known:
                self._known.insert(self._known.index(called[place - 1]) + 1 if place else 0, index)
        ends = [index for index in self._known if index in self._ending.found]
        self._end = ends[-1] if ends else self._end
        return [*self._known, self._end] != before

    def state(self) -> list[str]:
        """Return the names of the layers in the order that is known, for a checkpoint."""
        return [self._layers[index].name for index in self._known]

    @property
    def end(self) -> str:
        """The name of the layer that ends the network. Empty: unknown."""
        return "" if self._end < 0 else self._layers[self._end].name

    def restore(self, names: Sequence[str], end: str = "") -> None:
        """Go back to the known order `names` and its `end`. Layers that no longer exist are left out."""
        indices = {layer.name: index for index, layer in enumerate(self._layers)}
        self._known = [indices[name] for name in names if name in indices]
        self._end = indices.get(end, -1)


def stored_order(layers: "pd.DataFrame", probes: Collection[str]) -> list[str]:
    """Return the names of the layers that a stored layers.parquet shows as used, sorted by their numbers.

    probes: the names of the probes of the run that measure only layers that are used. Without any, the table
    does not show which layers were used, and all are returned."""
    for column in (SELECTED_BY, USE):
        if column in layers:
            layers = layers[layers[column].isna() | (layers[column] == "")]
    if NOT_MEASURED in layers and probes:
        layers = layers[[not set(probes) <= set(names.split(",")) for names in layers[NOT_MEASURED]]]
    return list(layers.sort_values("layer")["name"].unique())


def stored_end(layers: "pd.DataFrame") -> str:
    """Return the name of the classifier in a stored layers.parquet. Empty: it has none."""
    return next(iter(layers.loc[layers["stage"] == "fc", "name"]), "")
