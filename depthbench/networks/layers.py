"""The weighted layers of a network, in depth order. Probes measure them, and depth counts them."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from torch import nn

Weighted: TypeAlias = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear
NORMS = (
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.RMSNorm,
)


class Layer(NamedTuple):
    """One weighted layer."""

    name: str  # as in network.named_modules()
    stage: str  # layers of one stage work on maps of one size; conv1 and fc are stages of their own
    weighted: Weighted  # its output is the pre-activation z
    response: nn.Module | None = None
    """Its output is the response: the norm after `weighted`, or `weighted` itself. None: the norm that a
    forward pass calls on the output of `weighted`, or `weighted` if there is none."""


def response_of(weighted: nn.Module, norm: nn.Module) -> nn.Module:
    """Return the module whose output is the response of a layer: the norm that follows, or else the layer."""
    return weighted if isinstance(norm, nn.Identity) else norm


def weighted_layers(network: nn.Module) -> list[Layer]:
    """Return the layers of `network`, input side first.

    A network may name them with a method `weighted_layers()`. The built-in ones omit the projections of
    shortcuts, as the paper does. Without the method, the layers are all convolutions and linear maps in the
    order of registration. If the last of several layers is a linear map, it is the classifier.

    Raises ValueError if there is no such layer."""
    own: Callable[[], list[Layer]] | None = getattr(network, "weighted_layers", None)
    if own is not None:
        return own()
    layers = [
        Layer(name, "1", module) for name, module in network.named_modules() if isinstance(module, Weighted)
    ]
    if len(layers) > 1 and isinstance(layers[-1].weighted, nn.Linear):
        layers[-1] = layers[-1]._replace(stage="fc")
    if not layers:
        raise ValueError(f"{type(network).__name__} has no convolution and no linear layer to measure")
    return layers
