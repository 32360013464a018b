"""Stochastic gradient descent on normalised gradients (Yu et al. 2017, arXiv:1707.04822)."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class NormalisedSGD(torch.optim.SGD):
    """SGD with momentum in which the gradient of each parameter is divided by its L2 norm.

    An update has the same size however large or small the gradient is: without momentum and weight decay, its
    norm is the learning rate. A layer whose gradient explodes or vanishes learns at the same rate as any
    other. Yu et al. normalise the gradient of each layer. Here each parameter is normalised alone, so that
    its update does not depend on the gradients of others. The weight decay is added after that, and a
    gradient of zero stays zero."""

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        lr: float | Tensor,
        *,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        fused: bool | None = None,
    ):
        super().__init__(
            params, lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov, fused=fused
        )
        self.register_step_pre_hook(_normalise)


@torch.no_grad()
def _normalise(optimizer: torch.optim.Optimizer, *arguments: Any) -> None:
    """Divide the gradient of each parameter by its norm, in place."""
    for group in optimizer.param_groups:
        for gradient in (p.grad for p in group["params"] if p.grad is not None):
            least = torch.finfo(gradient.dtype).tiny
            # the square of a small or large number would be zero or infinite
            gradient.div_(gradient.abs().max().clamp_min(least))
            gradient.div_(gradient.norm().clamp_min(least))
