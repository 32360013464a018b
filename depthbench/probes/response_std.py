"""Standard deviation of the layer responses (He et al. 2015, Figure 7).

A response is a layer's output after normalisation, before the nonlinearity and before the addition."""

import torch
from torch import Tensor

from depthbench.probes.probe import Probe


def std(x: Tensor) -> Tensor:
    """The standard deviation of all of x, in at least float32."""
    return torch.std(x.detach().to(torch.promote_types(x.dtype, torch.float32)), correction=0)


PROBE = Probe("response", std)
