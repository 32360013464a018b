"""Find dL/dz of the projections of nn.MultiheadAttention, which calls no module for them."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

from torch import Tensor, nn
from torch.autograd.graph import Node

from depthbench.networks.attention import PROJECTIONS

Receive: TypeAlias = Callable[[str, Tensor], None]
"""A function of the name of a projection and its dL/dz (positions, features)."""


def follow_projections(
    attention: nn.MultiheadAttention, inputs: Iterable[Tensor], output: Tensor, receive: Receive
) -> None:
    """Call `receive` in the backward pass with dL/dz of each projection of one call of `attention`.

    The graph between the inputs and the output contains the operations that multiply with the weights.
    Frozen weights are not in this graph."""
    ends = {tensor.grad_fn for tensor in inputs if tensor.grad_fn is not None}
    parameters = {
        id(parameter): name
        for name in ("in_proj_weight", *(f"{projection}_weight" for projection in PROJECTIONS))
        if (parameter := attention._parameters.get(name)) is not None
    }
    for node, name, part in _products(output.grad_fn, ends, parameters):

        def split(gradients: tuple[Tensor, ...], name: str = name, part: int = part) -> None:
            (gradient,) = gradients
            if name != "in_proj_weight":
                receive(name.removesuffix("_weight"), gradient)
                return
            size = attention.embed_dim  # the output size of each projection in this product
            for place, columns in enumerate(gradient.split(size, -1)):
                receive(PROJECTIONS[part + place], columns)

        node.register_prehook(split)


def _products(
    start: Node | None, ends: set[Node], parameters: dict[int, str]
) -> Iterator[tuple[Node, str, int]]:
    """Yield the operations that multiply with one of `parameters`, its name, and the part that they take."""
    seen, waiting = set(ends), [start]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        for following, output in node.next_functions:
            found = _leaf(following, output, ends)
            if found is not None and id(found[0]) in parameters:
                yield node, parameters[id(found[0])], found[1]
            else:
                waiting.append(following)


def _leaf(node: Node | None, output: int, ends: set[Node]) -> tuple[Any, int] | None:
    """Return the parameter at the end of a series of views or casts, and the part of it that they select.

    Returns None if there are other operations on the way."""
    part = 0
    while node is not None and node not in ends:
        if hasattr(node, "variable"):
            return node.variable, part
        if len(node.next_functions) != 1:
            return None
        part = output or part
        ((node, output),) = node.next_functions
    return None
