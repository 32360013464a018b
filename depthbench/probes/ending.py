"""Find the layers that end a network, on the way from the logits back to the input."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn
from torch.autograd.graph import Node
from torch.utils.hooks import RemovableHandle

from depthbench.networks.layers import Layer
from depthbench.networks.outputs import logits_of
from depthbench.probes.hooks import first_tensor, in_backward_pass, is_transformed
from depthbench.probes.own_module import after_forward, before_forward


class Ending:
    """The layers that reach the logits of a forward pass through no other layer.

    Several layers can, e.g. if the logits are the sum of two heads. An auxiliary head does not, because its
    output is not in the logits."""

    def __init__(self, layers: Sequence[Layer]):
        self._parameters = {
            id(parameter): index
            for index, layer in enumerate(layers)
            for parameter in layer.weight_parameters
        }
        self._outputs: dict[Node, int] = {}  # the nodes that made the outputs of layers in this pass
        self._is_inside = False  # whether a forward pass of the network runs. Nodes keep its graph in memory
        self.found: list[int] = []
        """The indices of these layers in the last forward pass with a graph. Empty: no pass had one."""

    def hooks(self, network: nn.Module) -> list[RemovableHandle]:
        """Add hooks that follow the forward passes of a step. Forget the previous step."""
        self.found = []
        return [
            before_forward(network, self._begin),
            after_forward(network, self._end, always_call=True),
        ]

    def note(self, index: int, output: Any) -> None:
        """Note the output of a layer."""
        tensor = first_tensor(output)
        if self._is_inside and tensor is not None and not is_transformed(tensor) and tensor.grad_fn:
            self._outputs[tensor.grad_fn] = index

    def _begin(self, network: nn.Module, inputs: object) -> None:
        self._outputs, self._is_inside = {}, not in_backward_pass()

    def _end(self, network: nn.Module, inputs: object, output: Any) -> None:
        try:
            logits = logits_of(output)
        except TypeError:  # the loop of a user has to know what the network returns
            logits = None
        if self._is_inside and logits is not None and not is_transformed(logits) and logits.grad_fn:
            self.found = _ending(logits.grad_fn, self._outputs, self._parameters) or self.found
        self._outputs, self._is_inside = {}, False


def _ending(end: Node, outputs: Mapping[Node, int], parameters: Mapping[int, int]) -> list[int]:
    """Return the layers that reach `end` first, by their output or, if they were not called, their weight."""
    waiting, seen, found = [end], {end}, set()
    while waiting:
        node = waiting.pop()
        index = outputs.get(node)
        if index is None:
            index = parameters.get(id(getattr(node, "variable", None)))
            following = {following for following, _ in node.next_functions if following is not None} - seen
            seen |= following
            waiting += following
        if index is not None:
            found.add(index)
    return sorted(found)
