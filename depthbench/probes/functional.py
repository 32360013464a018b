"""Find weights that a forward pass uses without a call of their layer, as in F.linear(x, layer.weight)."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.utils.hooks import RemovableHandle

from depthbench.networks.layers import Layer
from depthbench.networks.outputs import logits_of
from depthbench.probes.hooks import first_tensor, in_backward_pass, is_transformed
from depthbench.probes.own_module import after_forward


class FunctionalUses:
    """Finds layers whose weight is used outside of their calls, in the graph behind the logits of a step.

    The graph does not show the operations that a backward pass computes again to save memory."""

    def __init__(self, layers: Sequence[Layer], network: nn.Module):
        self._network = network
        self._modules = {layer.weighted: index for index, layer in enumerate(layers)}
        self._parameters = {
            id(parameter): index
            for index, layer in enumerate(layers)
            for parameter in layer.weight_parameters
        }
        self._inside: set[Node] = set()  # nodes in calls of layers; they keep the graph in memory
        self.found: set[int] = set()
        """The indices of the layers found in the last step."""

    def hooks(self) -> list[RemovableHandle]:
        """Add hooks that follow the forward passes of a step."""
        handles = [after_forward(module, self._note) for module in self._modules]
        return [*handles, after_forward(self._network, self._end, always_call=True)]

    def clear(self) -> None:
        """Forget the step."""
        self._inside, self.found = set(), set()

    def _note(self, layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        """Note the operations between the inputs and the output of a call."""
        end = _node_of(output)
        if end is not None and not in_backward_pass():
            ends = {x.grad_fn for x in inputs if isinstance(x, Tensor) and x.grad_fn is not None}
            self._inside.update(list(_nodes(end, ends, self._inside)))

    def _end(self, network: nn.Module, inputs: object, output: Any) -> None:
        try:
            end = None if in_backward_pass() else _node_of(logits_of(output))
        except TypeError:  # only the user's loop knows which part of the output is the logits
            end = None
        for node in () if end is None else _nodes(end):
            if node not in self._inside:
                parameters = (id(getattr(each, "variable", None)) for each, _ in node.next_functions)
                self.found.update(self._parameters[key] for key in parameters if key in self._parameters)
        self._inside = set()


def _node_of(output: Any) -> Node | None:
    tensor = first_tensor(output)
    return None if tensor is None or is_transformed(tensor) else tensor.grad_fn


def _nodes(end: Node, stops: Iterable[Node] = (), known: Collection[Node] = frozenset()) -> Iterator[Node]:
    """Yield `end` and the nodes that it depends on, without `stops`, `known` and the nodes behind them."""
    waiting, seen = [end], {*stops, end}
    while waiting:
        node = waiting.pop()
        yield node
        following = {each for each, _ in node.next_functions if each is not None and each not in known} - seen
        seen |= following
        waiting += following
