"""L2 norms of the gradients that vanish or explode.

The norm of dL/dW alone can hide a vanishing gradient. Under Xavier initialisation with ReLU, activations grow
towards the input by as much as dL/dz falls. Both norms are therefore measured."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from depthbench.machine.precision import widest_float
from depthbench.networks.layers import weighted_layers
from depthbench.probes.probe import Probe

SAFE = (1e-15, 1e15)  # root mean squares for which float32 can hold the squares, even of far smaller elements
SMALL = 2**14  # up to this number of elements, float64 costs a CPU nothing


def l2(x: Tensor) -> Tensor:
    """Return the L2 norm of all of x, exact to the last digit of float32, as float64 (float32 on Apple GPUs).

    It is computed in float64, because the squares of a vanished gradient (elements of 1e-25) are zero in
    float32, and a long sum in float32 loses digits. On a CPU it is several times faster to make short sums in
    float32 and to add these in float64. That is as exact, unless a square underflows or overflows."""
    if is_long(x):
        short = torch.linalg.vector_norm(rows(x), dim=-1, dtype=torch.float32)
        norm = torch.linalg.vector_norm(short, dtype=torch.float64)
        if SAFE[0] < norm.item() / math.sqrt(x.numel()) < SAFE[1]:
            return norm
    return torch.linalg.vector_norm(x, dtype=widest_float(x.device))


def is_long(x: Tensor) -> bool:
    """Return whether x has rows and is so large that float64 is slow on a CPU."""
    return x.device.type == "cpu" and x.dtype != torch.float64 and x.dim() > 1 and x.numel() > SMALL


def rows(x: Tensor) -> Tensor:
    """Return x as rows, in the order of its memory. Each row is short compared with x.

    A row is (W * C) of a channels_last (B, C, H, W), (H * W) of another tensor with more than two dimensions,
    and otherwise the last dimension."""
    if x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last):
        x = x.movedim(1, -1)
    return x.flatten(-2) if x.dim() > 2 else x


def l2_of_each(tensors: Sequence[Tensor]) -> Tensor:
    """Return `l2` of each tensor, (len(tensors),), in a few kernels, which is faster on a GPU."""
    return torch.stack(torch._foreach_norm(list(tensors), dtype=widest_float(tensors[0].device)))


def gradient_of(weight: Tensor) -> Tensor:
    """Return dL/dW of a weight with a gradient."""
    assert weight.grad is not None  # see Recorder.values
    return weight.grad


WEIGHT = Probe(
    "weight",
    lambda weight: l2(gradient_of(weight)),
    lambda weights: l2_of_each([gradient_of(weight) for weight in weights]),
)
PREACTIVATION = Probe("preactivation_gradient", l2, l2_of_each, combine=lambda norms, sizes: l2(norms))


def gradient_norm(network: nn.Module) -> dict[str, float]:
    """Return layer name -> L2 norm of its weight gradient after a backward pass. NaN without a gradient."""
    norms = {}
    for layer in weighted_layers(network):
        weight = layer.weight
        gradient = None if weight is None else weight.grad
        norms[layer.name] = math.nan if gradient is None else l2(gradient).item()
    return norms
