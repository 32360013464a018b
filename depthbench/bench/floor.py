"""The shortest time that a training step can take on a machine with given ceilings.

Operations: each convolution and linear map multiplies three times, for the forward pass, for dL/dW and for
dL/dx. The first layer skips dL/dx. A multiply-add is two operations. As in the papers, products with padding
count, although they need not be computed. They are a tenth of all at 32x32 pixels and a third in the digits
study, which overstates the digits study's fraction of the ceiling.

Bytes: the memory traffic that remains if everything else (normalisation, activation, addition, loss) is fused
into the maps. In the forward pass, a map reads its input x and writes its output z. In the backward pass, it
reads dL/dz and x and writes dL/dx. Both passes read each parameter, and its gradient is written. The update
reads gradient, parameter and momentum and writes the last two. Data that stays in a cache between maps causes
no traffic, so small images can come closer to this floor than large ones."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import nn


@dataclass(frozen=True)
class Cost:
    """The cost of one training step."""

    operations: int
    bytes: int


@torch.no_grad()
def step_cost(
    network: nn.Module, image_shape: tuple[int, ...], batch_size: int, activation_bytes: int = 4
) -> Cost:
    """Return the cost of a step on `batch_size` images (C, H, W).

    Runs one forward pass in evaluation mode and then restores the mode of the network."""
    maps = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    image = torch.zeros(1, *image_shape, device=next(network.parameters()).device)
    operations = numbers = 0

    def count(module: nn.Module, inputs: tuple[torch.Tensor, ...], z: torch.Tensor) -> None:
        nonlocal operations, numbers
        assert isinstance(module, nn.Conv2d | nn.Linear)
        x = inputs[0]
        is_first = x is image
        multiply_adds = z.numel() * module.weight[0].numel()  # each output is a sum over one filter
        operations += 2 * multiply_adds * (2 if is_first else 3)
        numbers += 2 * z.numel() + x.numel() * (2 if is_first else 3)

    handles = [m.register_forward_hook(count) for m in maps]
    training = network.training
    try:
        network.eval()(image)
    finally:
        network.train(training)
        for handle in handles:
            handle.remove()
    parameters = sum(p.numel() for p in network.parameters())
    return Cost(operations * batch_size, numbers * batch_size * activation_bytes + 8 * parameters * 4)


def floor_seconds(cost: Cost, operations_per_second: pd.Series, bytes_per_second: pd.Series) -> pd.Series:
    """Return the longer of the times for operations and for bytes, at each pair of rates."""
    return pd.Series(np.maximum(cost.operations / operations_per_second, cost.bytes / bytes_per_second))
