"""Relative change of the weights by one update.

A ratio near 1e-3 is a rule of thumb for a learning rate that is neither too low nor too high (Karpathy, notes
of the course CS231n). A layer whose ratio is far below that of the others hardly trains."""

import torch
from torch import Tensor

from depthbench.machine.precision import widest_float
from depthbench.probes.probe import Probe


def update_ratio(before: Tensor, after: Tensor) -> Tensor:
    """Return ||after - before|| / ||before|| (L2 norms), computed in float64 (float32 on Apple GPUs).

    If the weight was 0 before the update, it is infinite, or NaN if the weight still is 0."""
    wide = widest_float(before.device)
    before = before.to(wide)
    return torch.linalg.vector_norm(after.to(wide) - before) / torch.linalg.vector_norm(before)


PROBE = Probe("weight_update", update_ratio)
