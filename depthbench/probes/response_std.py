"""Standard deviation of the layer responses (He et al. 2015, Figure 7).

A response is the output of a layer after normalisation, before the nonlinearity and the addition."""

import math

import torch
from torch import Tensor

from depthbench.machine.precision import widest_float
from depthbench.probes.gradient_norm import is_long, l2, rows
from depthbench.probes.probe import Probe

NARROW = 1e-3  # relative to the mean; rounding the mean would change a smaller deviation


def std(x: Tensor) -> Tensor:
    """Return the standard deviation of all of x, exact to the last digit of float32."""
    x = x.detach()
    if is_long(x):
        x = x.float()
        mean = rows(x).sum(-1).sum(dtype=torch.float64).item() / x.numel()
        variance = l2(x).item() ** 2 / x.numel() - mean**2
        if variance > mean**2:  # a smaller variance has lost digits in the subtraction
            return torch.tensor(math.sqrt(variance), dtype=torch.float64)
        deviation = l2(x - mean) / math.sqrt(x.numel())
        if deviation > NARROW * abs(mean):
            return deviation
    return torch.std(x.to(widest_float(x.device)), correction=0)


PROBE = Probe("response", std)
