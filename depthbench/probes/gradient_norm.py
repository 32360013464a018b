"""L2 norms of the gradients that vanish or explode.

Under Xavier initialisation the norm of dL/dW hides a vanishing gradient, since the activation grows as
dL/dz falls; so both are measured."""

import math

import torch
from torch import Tensor, nn

from depthbench.networks.layers import weighted_layers
from depthbench.precision import widest_float
from depthbench.probes.probe import Probe


def l2(x: Tensor) -> Tensor:
    """The L2 norm of all of x, added up in float64: the squares of a vanished gradient, say 1e-25 in each
    element, are zero in float32."""
    return torch.linalg.vector_norm(x.to(widest_float(x.device)))


WEIGHT = Probe("weight", lambda weight: l2(weight.grad))
PREACTIVATION = Probe("preactivation_gradient", l2)


def gradient_norm(network: nn.Module) -> dict[str, float]:
    """Layer name -> L2 norm of its weight gradient, after a backward pass; NaN where it has none."""
    gradients = {layer.name: layer.weighted.weight.grad for layer in weighted_layers(network)}
    return {name: math.nan if g is None else l2(g).item() for name, g in gradients.items()}
