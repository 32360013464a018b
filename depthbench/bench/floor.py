"""The least time that a training step can take on a machine with given ceilings.

Operations: each convolution and linear map multiplies three times, forward, for dL/dW and for dL/dx, which
the first needs not; a multiply-add is two operations. As the papers count, products with padding are among
them, though they need not be made: a tenth of all at 32x32 pixels, a third in the digits study, whose part of
the ceiling is flattered so.

Bytes: what must travel even if all else (normalisation, activation, addition, loss) is fused into the maps.
In the forward pass a map reads its input x and writes its output z; in the backward pass it reads dL/dz and
x, and writes dL/dx. A parameter is read by both passes, its gradient written, and the update reads gradient,
parameter and momentum and writes the last two. What a cache keeps from one map to the next need not travel,
so small images can come nearer to this floor than large ones."""

from typing import NamedTuple

import torch
from torch import nn


class Cost(NamedTuple):
    """Of one training step."""

    operations: int
    bytes: int


@torch.no_grad()
def step_cost(
    network: nn.Module, image_shape: tuple[int, int, int], batch_size: int, activation_bytes: int = 4
) -> Cost:
    """What a step on `batch_size` images (C, H, W) costs. Seen in one forward pass in evaluation mode; the
    network is left in the mode it was in."""
    maps = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    image = torch.zeros(1, *image_shape, device=next(network.parameters()).device)
    operations = numbers = 0

    def see(module: nn.Module, inputs: tuple, z: torch.Tensor) -> None:
        nonlocal operations, numbers
        x = inputs[0]
        is_first = x is image
        multiply_adds = z.numel() * module.weight[0].numel()  # each output is a sum over one filter
        operations += 2 * multiply_adds * (2 if is_first else 3)
        numbers += 2 * z.numel() + x.numel() * (2 if is_first else 3)

    handles = [m.register_forward_hook(see) for m in maps]
    training = network.training
    try:
        network.eval()(image)
    finally:
        network.train(training)
        for handle in handles:
            handle.remove()
    parameters = sum(p.numel() for p in network.parameters())
    return Cost(operations * batch_size, numbers * batch_size * activation_bytes + 8 * parameters * 4)


def floor_seconds(cost: Cost, operations_per_second, bytes_per_second):
    """The larger of operations over rate and bytes over bandwidth; numbers or arrays of them."""
    import numpy as np

    return np.maximum(cost.operations / operations_per_second, cost.bytes / bytes_per_second)
