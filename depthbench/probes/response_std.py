"""Standard deviation of the layer responses (He et al. 2015, Figure 7).

A response is the output of a layer after normalisation, before the nonlinearity and the addition."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from depthbench.machine.precision import widest_float
from depthbench.probes.gradient_norm import is_long, l2, rows
from depthbench.probes.probe import Probe

NARROW = 1e-3  # relative to the mean; rounding the mean would change a smaller deviation


def std(x: Tensor) -> Tensor:
    """Return the standard deviation of all of x, exact to the last digit of float32."""
    x = x.detach()
    return _std_about(x, _mean(x))


def _std_about(x: Tensor, mean_of_x: Tensor) -> Tensor:
    """Return the standard deviation of x, given its mean."""
    if is_long(x):
        x = x.float()
        mean = mean_of_x.item()
        variance = l2(x).item() ** 2 / x.numel() - mean**2
        if variance > mean**2:  # a smaller variance has lost digits in the subtraction
            return torch.tensor(math.sqrt(variance), dtype=torch.float64)
        deviation = l2(x - mean) / math.sqrt(x.numel())
        if deviation > NARROW * abs(mean):
            return deviation
    return torch.std(x.to(widest_float(x.device)), correction=0)


def std_and_mean(x: Tensor) -> Tensor:
    """Return the standard deviation and the mean of all of x, (2,)."""
    x = x.detach()
    mean = _mean(x)
    deviation = _std_about(x, mean)
    return torch.stack([deviation, mean.to(deviation.dtype)])


def _mean(x: Tensor) -> Tensor:
    """Return the mean of all of x, summed in float64 (float32 on Apple GPUs)."""
    wide = widest_float(x.device)
    return (rows(x).float().sum(-1).sum(dtype=wide) if is_long(x) else x.sum(dtype=wide)) / x.numel()


def std_of_all(summaries: Tensor, sizes: Sequence[int]) -> Tensor:
    """Return the standard deviation of all numbers of several tensors (Chan et al. 1979).

    summaries: `std_and_mean` of each, (tensors, 2). sizes: how many numbers each has."""
    parts = [size / sum(sizes) for size in sizes]  # on the host, as a captured step copies nothing from there
    mean = torch.stack([part * summary[1] for part, summary in zip(parts, summaries, strict=True)]).sum()
    variances = [
        part * (deviation**2 + (own - mean) ** 2)
        for part, (deviation, own) in zip(parts, summaries, strict=True)
    ]
    return torch.stack(variances).sum().sqrt()


PROBE = Probe("response", std, combine=std_of_all, summarise=std_and_mean)
