"""Networks whose parameters get their shapes from the first batch (torch's lazy modules)."""

import itertools

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.parameter import is_lazy as has_no_shape

from depthbench.errors import BadNetwork, any_of


def is_lazy(network: nn.Module) -> bool:
    """Return whether any parameter or buffer has no shape yet."""
    return any(map(has_no_shape, itertools.chain(network.parameters(), network.buffers())))


def initialise_lazily(network: nn.Module, shape: tuple[int, ...]) -> None:
    """Give every parameter its shape, by a forward pass of two images of `shape` (C, H, W).

    The pass is one in evaluation mode. If layers are called in training mode only, a second pass in that mode
    follows. Raises BadNetwork if a layer is called in neither, so that it never gets a shape."""
    was_training = network.training
    images = torch.zeros(2, *shape)
    with torch.no_grad():
        network.eval()
        network(images)
        if is_lazy(network):
            _initialise_in_training(network, images)
    network.train(was_training)
    layers = [name for name, module in network.named_modules() if _is_without_shape(module)]
    if layers:
        raise BadNetwork(
            f"no batch reaches its lazy layer {any_of(layers)}, which therefore has no shape; call it in "
            "forward(), or remove it"
        )


def _initialise_in_training(network: nn.Module, images: torch.Tensor) -> None:
    """Make a forward pass in training mode, and restore the running statistics."""
    before = [(buffer, buffer.clone()) for buffer in network.buffers() if not has_no_shape(buffer)]
    new = [module for module in network.modules() if _is_without_shape(module)]
    network.train()
    network(images)
    for buffer, values in before:
        buffer.copy_(values)
    for module in new:
        if isinstance(module, _NormBase) and not _is_without_shape(module):
            module.reset_running_stats()


def _is_without_shape(module: nn.Module) -> bool:
    own = itertools.chain(module.parameters(recurse=False), module.buffers(recurse=False))
    return any(map(has_no_shape, own))
