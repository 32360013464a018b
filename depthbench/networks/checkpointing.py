"""Deep networks in little memory: the backward pass computes activations again instead of keeping them
(Chen et al. 2016, arXiv:1604.06174).

A network that supports this is `Blocked` (cost.py). Its `run_blocks` is `in_turn` until
`recompute_activations` replaces it with a `Recomputed`. Nothing else changes: neither the modules, nor the
names of parameters, nor any bit of the result."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from depthbench.errors import BadInput
from depthbench.networks.cost import Blocked, count


def recompute_activations(network: nn.Module, batch_shape: tuple[int, ...]) -> int:
    """Make `network` compute activations again in the backward pass. Return the number of blocks per segment.

    In training, `network` then keeps only the input of every segment and computes the activations in between
    again, which costs one more forward pass per step. The number of blocks is chosen for the lowest peak
    memory on batches of this shape. The choice makes one forward pass of one input, which changes
    neither the network nor the random numbers. Raises BadInput if the network has no `blocks()`."""
    if not isinstance(network, Blocked):
        raise BadInput(
            f"activations of {type(network).__name__} cannot be recomputed: it has no blocks(); "
            "use --no-recompute"
        )
    training = network.training
    try:
        length = count(network.eval(), (1, *batch_shape[1:])).segment_length()
    finally:
        network.train(training)
    network.run_blocks = Recomputed(length)
    return length


def can_recompute(network: nn.Module) -> bool:
    """Return whether `network` supports `recompute_activations`."""
    return isinstance(network, Blocked)


def in_turn(blocks: Iterable[nn.Module], x: Tensor) -> Tensor:
    """Call each block on the output of the one before."""
    for block in blocks:
        x = block(x)
    return x


class Recomputed:
    """Call blocks like `in_turn`, but keep only the input of every `length` blocks for the backward pass."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __call__(self, blocks: Sequence[nn.Module], x: Tensor) -> Tensor:
        if not (torch.is_grad_enabled() and any(block.training for block in blocks)):
            return in_turn(blocks, x)
        for start in range(0, len(blocks), self.length):
            segment = blocks[start : start + self.length]
            x = checkpoint(
                in_turn,
                segment,
                x,
                use_reentrant=False,
                preserve_rng_state=may_draw_random_numbers(segment),
                context_fn=partial(_contexts, segment),
            )
        return x


def _contexts(
    blocks: Iterable[nn.Module],
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Return the contexts of the first and of the second forward pass."""
    return nullcontext(), buffers_copied(blocks)


def may_draw_random_numbers(blocks: Iterable[nn.Module]) -> bool:
    """Return whether `blocks` may draw random numbers, so that the second forward pass must draw them again.

    A block with `dropout = 0` draws none. Saving the state of the generator would then waste time, and a
    CUDA graph cannot capture it."""
    return any(getattr(block, "dropout", True) for block in blocks)


@contextmanager
def buffers_copied(blocks: Iterable[nn.Module]) -> Iterator[None]:
    """Make `blocks` work on copies of their buffers inside this context.

    A second forward pass then does not update buffers, such as running statistics, a second time."""
    own: list[tuple[nn.Module, dict[str, Any]]] = []
    for module in {module for block in blocks for module in block.modules()}:
        own.append((module, dict(module._buffers)))
        copies = {name: None if b is None else b.clone() for name, b in module._buffers.items()}
        module._buffers.update(copies)
    try:
        yield
    finally:
        for module, buffers in own:
            module._buffers.update(buffers)
