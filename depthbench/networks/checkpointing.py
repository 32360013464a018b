"""Deep networks in little memory: activations are computed again in the backward pass instead of being kept
(Chen et al. 2016, arXiv:1604.06174).

A network that can do this has `blocks()`, its blocks in the order they are called in, each on the output of
the one before and on nothing else, and calls them by `self.run_blocks(blocks, x)`, which is `in_turn` until
`recompute_activations` puts a `Recomputed` there. Nothing else of the network changes: not its modules, not
the names of its parameters, not a bit of what it computes."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from depthbench.errors import BadInput
from depthbench.networks.cost import count


def recompute_activations(network: nn.Module, batch_shape: tuple[int, int, int, int]) -> int:
    """From now on `network`, of batches (B, C, H, W), keeps in training only the input of every few of its
    blocks, and computes what lies between again. Returns how many blocks that is: as many as make the peak
    memory lowest. One more forward pass a step is what it costs.

    Makes one forward pass of one image, which changes neither the network nor the random numbers. Raises
    BadInput where the network has no `blocks()`."""
    if not can_recompute(network):
        raise BadInput(
            f"activations of {type(network).__name__} cannot be computed again: it has no blocks(); "
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
    return hasattr(network, "blocks") and hasattr(network, "run_blocks")


def in_turn(blocks: Iterable[nn.Module], x: Tensor) -> Tensor:
    """Each block on the output of the one before."""
    for block in blocks:
        x = block(x)
    return x


class Recomputed:
    """`in_turn`, keeping only the input of every `length` blocks while gradients are wanted."""

    def __init__(self, length: int):
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
                preserve_rng_state=draws(segment),
                context_fn=lambda segment=segment: (nullcontext(), buffers_copied(segment)),
            )
        return x


def draws(blocks: Iterable[nn.Module]) -> bool:
    """Whether `blocks` may draw random numbers, which must then be drawn alike a second time. A block says
    that it does not by `dropout = 0`. Keeping the generator's state where nothing is drawn would cost time,
    and a CUDA graph cannot capture it."""
    return any(getattr(block, "dropout", True) for block in blocks)


@contextmanager
def buffers_copied(blocks: Iterable[nn.Module]) -> Iterator[None]:
    """Inside, `blocks` work on copies of their buffers, so that what a second forward pass does to them, to
    the running statistics of normalisation for one, is not done twice."""
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
