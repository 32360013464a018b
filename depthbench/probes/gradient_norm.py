"""L2 norms of the gradients that vanish or explode.

Under Xavier initialisation the norm of dL/dW hides a vanishing gradient, since the activation grows as
dL/dz falls; so both are measured."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from depthbench.machine.precision import widest_float
from depthbench.networks.layers import weighted_layers
from depthbench.probes.probe import Probe

SAFE = (1e-15, 1e15)  # root mean squares whose squares float32 holds, those of far smaller elements too
SMALL = 2**14  # numbers below which float64 costs a CPU nothing


def l2(x: Tensor) -> Tensor:
    """The L2 norm of all of x, exact to float32's last digit, as float64 (float32 on Apple GPUs).

    The squares of a vanished gradient, say 1e-25 in each element, are zero in float32, and a long sum of
    float32 numbers loses digits: hence float64. A CPU is several times faster at short sums in float32 whose
    results are added up in float64, which is as exact while no square underflows or overflows."""
    if is_long(x):
        short = torch.linalg.vector_norm(rows(x), dim=-1, dtype=torch.float32)
        norm = torch.linalg.vector_norm(short, dtype=torch.float64)
        if SAFE[0] < norm.item() / math.sqrt(x.numel()) < SAFE[1]:
            return norm
    return torch.linalg.vector_norm(x, dtype=widest_float(x.device))


def is_long(x: Tensor) -> bool:
    """Whether a CPU would take long over x in float64, and x has rows."""
    return x.device.type == "cpu" and x.dtype != torch.float64 and x.dim() > 1 and x.numel() > SMALL


def rows(x: Tensor) -> Tensor:
    """x, in the order in which it lies in memory, as rows, each short beside all of x: (..., W * C) of a
    channels_last (B, C, H, W), else (..., H * W), and the last dimension where there are two at most."""
    if x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last):
        x = x.movedim(1, -1)
    return x.flatten(-2) if x.dim() > 2 else x


def l2_of_each(tensors: Sequence[Tensor]) -> Tensor:
    """(len(tensors),): `l2` of each, in a few kernels for all, which is what counts on a GPU."""
    return torch.stack(torch._foreach_norm(list(tensors), dtype=widest_float(tensors[0].device)))


WEIGHT = Probe(
    "weight", lambda weight: l2(weight.grad), lambda weights: l2_of_each([w.grad for w in weights])
)
PREACTIVATION = Probe("preactivation_gradient", l2, l2_of_each)


def gradient_norm(network: nn.Module) -> dict[str, float]:
    """Layer name -> L2 norm of its weight gradient, after a backward pass; NaN where it has none."""
    gradients = {layer.name: layer.weighted.weight.grad for layer in weighted_layers(network)}
    return {name: math.nan if g is None else l2(g).item() for name, g in gradients.items()}
