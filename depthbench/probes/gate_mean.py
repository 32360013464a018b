"""Mean output of the gates: of highway layers, of squeeze and excitation, and of gated shortcuts.

A transform gate near 0 passes on its input (Srivastava et al. 2015, arXiv:1505.00387, sec. 4). The gate of a
shortcut is that of the branch, so that the shortcut carries 1 minus it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from depthbench.machine.precision import widest_float
from depthbench.networks.components import Gating
from depthbench.probes.probe import Probe


def mean(x: Tensor) -> Tensor:
    """Return the mean of all of x, summed in float64 (float32 on Apple GPUs)."""
    return x.detach().sum(dtype=widest_float(x.device)) / x.numel()


def mean_of_all(means: Tensor, sizes: Sequence[int]) -> Tensor:
    """Return the mean of all numbers of several tensors, given the mean (tensors,) and the size of each."""
    parts = [value * (size / sum(sizes)) for value, size in zip(means, sizes, strict=True)]
    return torch.stack(parts).sum()


PROBE = Probe("output", mean, combine=mean_of_all, where=Gating)
