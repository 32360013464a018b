"""Agreement of the gradients of successive batches.

A cosine near 1 means that both batches change the weights of a layer in the same direction. A cosine near 0
means that the noise of the batches dominates the gradient (McCandlish et al. 2018, arXiv:1812.06162)."""

import torch
from torch import Tensor

from depthbench.machine.precision import widest_float
from depthbench.probes.probe import Probe


def cosine(before: Tensor, now: Tensor) -> Tensor:
    """Return the cosine of the angle between two tensors, computed in float64 (float32 on Apple GPUs).

    It is NaN if one of the tensors is 0."""
    wide = widest_float(now.device)
    a, b = before.flatten().to(wide), now.flatten().to(wide)
    return torch.dot(a, b) / (torch.linalg.vector_norm(a) * torch.linalg.vector_norm(b))


PROBE = Probe("weight_gradients", cosine)
