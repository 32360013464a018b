"""Networks whose parameters get their shapes from the first batch (torch's lazy modules)."""

import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter


def is_lazy(network: nn.Module) -> bool:
    """Return whether any parameter has no shape yet."""
    return any(isinstance(parameter, UninitializedParameter) for parameter in network.parameters())


def initialise_lazily(network: nn.Module, shape: tuple[int, int, int]) -> None:
    """Give every parameter its shape, by a forward pass of two images of `shape` (C, H, W)."""
    was_training = network.training
    with torch.no_grad():
        network.eval()(torch.zeros(2, *shape))
    network.train(was_training)
