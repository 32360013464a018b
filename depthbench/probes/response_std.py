"""Standard deviation of the layer responses (He et al. 2015, Figure 7).

A response is a layer's output after normalisation, before the nonlinearity and before the addition."""

import math

import torch
from torch import Tensor

from depthbench.machine.precision import widest_float
from depthbench.probes.gradient_norm import is_long, l2, rows
from depthbench.probes.probe import Probe

NARROW = 1e-3  # parts of the mean: a mean that is rounded shifts so narrow a spread


def std(x: Tensor) -> Tensor:
    """The standard deviation of all of x, exact to float32's last digit."""
    x = x.detach()
    if is_long(x):
        x = x.float()
        mean = rows(x).sum(-1).sum(dtype=torch.float64).item() / x.numel()
        variance = l2(x).item() ** 2 / x.numel() - mean**2
        if variance > mean**2:  # a smaller one would have lost digits in the difference
            return torch.tensor(math.sqrt(variance), dtype=torch.float64)
        deviation = l2(x - mean) / math.sqrt(x.numel())
        if deviation > NARROW * abs(mean):
            return deviation
    return torch.std(x.to(widest_float(x.device)), correction=0)


PROBE = Probe("response", std)
