"""The weighted layers of a network, in depth order: what probes measure and what depth counts."""

from typing import NamedTuple

from torch import nn

WEIGHTED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)


class Layer(NamedTuple):
    """One weighted layer."""

    name: str  # as in network.named_modules()
    stage: str  # layers of one stage work on maps of one size; conv1 and fc stand for themselves
    weighted: nn.Module  # its output is the pre-activation z
    response: nn.Module  # its output is the response: the norm after `weighted`, or `weighted` itself


def response_of(weighted: nn.Module, norm: nn.Module) -> nn.Module:
    """What gives the response of a layer that `norm` follows: the norm, or the layer where there is none."""
    return weighted if isinstance(norm, nn.Identity) else norm


def weighted_layers(network: nn.Module) -> list[Layer]:
    """The layers of `network`, input side first.

    A network names them itself with a method `weighted_layers()`; ours leave out the projections of
    shortcuts, as the paper does. For one that has none: every convolution and linear map in the order of
    registration, each with the norm registered right after it; the last of several, if it is a linear map, is
    the classifier.

    Raises ValueError where there is none."""
    if hasattr(network, "weighted_layers"):
        return network.weighted_layers()
    layers: list[Layer] = []
    for name, module in network.named_modules():
        if isinstance(module, WEIGHTED):
            layers.append(Layer(name, "1", module, module))
            follows = True
        elif isinstance(module, NORMS) and layers and follows:
            layers[-1] = layers[-1]._replace(response=module)
            follows = False
        elif not any(module.children()):
            follows = False
    if len(layers) > 1 and isinstance(layers[-1].weighted, nn.Linear):
        layers[-1] = layers[-1]._replace(stage="fc")
    if not layers:
        raise ValueError(f"{type(network).__name__} has no convolution and no linear layer to measure")
    return layers
