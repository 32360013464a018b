"""Batch normalisation over the whole batch, when each of several processes has a part of it.

`torch.nn.SyncBatchNorm` does this on CUDA, but refuses CPU tensors. `GlobalBatchNorm` does it on a CPU."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from depthbench.errors import BadInput
from depthbench.training.team import Team

KINDS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def normalise_globally(network: nn.Module, team: Team) -> None:
    """Make every batch normalisation of `network` normalise over the batch of all ranks of `team`.

    The modules stay the same objects, so that whatever refers to them sees the change."""
    for module in network.modules():
        if type(module) in KINDS:
            module.__class__ = GlobalBatchNorm
            module.team = team  # type: ignore[assignment]


def check(network: nn.Module) -> None:
    """Raise BadInput for a subclass of torch's batch normalisation, whose arithmetic is unknown."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and type(module) not in KINDS:
            raise BadInput(
                f"the network uses its own batch normalisation, {type(module).__name__}, which cannot be "
                "synchronised between processes; add --set sync_batch_norm=false"
            )


def set_momentum(network: nn.Module, momentum: float) -> None:
    """Set the weight of a batch in the running statistics of all batch normalisation in `network`."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = momentum


class GlobalBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation of x (B, C, ...), where each rank of `team` has a part of the batch.

    In training it has the output, the gradients and the running statistics of `nn.BatchNorm2d` on the whole
    batch. The gradients of weight and bias are those of this rank's part. Sums are made in float64."""

    team: Team

    def _check_input_dim(self, input: Tensor) -> None:
        """Accept every shape: `nn.BatchNorm1d`, `2d` and `3d` share one arithmetic."""

    def forward(self, input: Tensor) -> Tensor:  # (B, C, ...)
        if not self.training:
            return super().forward(input)
        y, mean, variance, count = _Normalise.apply(self, input, self.weight, self.bias)
        self._track(mean, variance * count / (count - 1).clamp(min=1))
        return y

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor) -> None:
        """Update the running statistics, (C,) each. The variance is the unbiased one, as in torch."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        momentum = 1 / self.num_batches_tracked.item() if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
        self.running_var.lerp_(variance.to(self.running_var.dtype), momentum)


class _Normalise(torch.autograd.Function):
    """y = weight (x - mean) / sqrt(variance + eps) + bias, with statistics over the parts of all ranks."""

    @staticmethod
    def forward(
        context: Any, norm: GlobalBatchNorm, x: Tensor, *affine: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return y, and the float64 mean (C,), biased variance (C,) and number of values per channel.

        affine: weight and bias of `norm`, (C,) each, or None."""
        weight, bias = affine
        mean, variance, count = _statistics(x, norm.team)
        inverse = (variance + norm.eps).rsqrt()
        shape = (1, -1, *(1,) * (x.dim() - 2))
        wide = torch.promote_types(x.dtype, torch.float32)  # of the arithmetic: float32 for bfloat16
        normal = (x - mean.to(wide).view(shape)) * inverse.to(wide).view(shape)
        y = normal if weight is None else normal * weight.to(wide).view(shape)
        y = y if bias is None else y + bias.to(wide).view(shape)
        context.save_for_backward(x, weight, mean, inverse, count)
        context.team, context.shape, context.wide = norm.team, shape, wide
        context.mark_non_differentiable(mean, variance, count)
        return y.to(x.dtype), mean, variance, count

    @staticmethod
    @once_differentiable
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x over the whole batch, and of weight and bias over this part."""
        x, weight, mean, inverse, count = context.saved_tensors
        shape, wide = context.shape, context.wide
        dy = gradients[0].to(wide)
        normal = (x - mean.to(wide).view(shape)) * inverse.to(wide).view(shape)
        sums = torch.stack([_per_channel(dy), _per_channel(dy * normal)])  # (2, C) float64
        mean_dy, mean_dy_normal = (context.team.sum(sums) / count).to(wide)
        scale = inverse.to(wide) if weight is None else inverse.to(wide) * weight.to(wide)
        dx = (dy - mean_dy.view(shape) - normal * mean_dy_normal.view(shape)) * scale.view(shape)
        if weight is None:
            return None, dx.to(x.dtype), None, None
        return None, dx.to(x.dtype), sums[1].to(weight.dtype), sums[0].to(weight.dtype)


def _statistics(x: Tensor, team: Team) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mean (C,), the biased variance (C,) and the number of values per channel over all ranks.

    Each rank sends its number of values, its mean and its sum of squared deviations from it. Joining these
    loses no digits, unlike a difference of squares (Chan et al. 1979)."""
    count = torch.full((1,), x.numel() // x.shape[1], dtype=torch.float64, device=x.device)
    mean = _per_channel(x) / count
    shape = (1, -1, *(1,) * (x.dim() - 2))
    deviations = x.double() - mean.view(shape)
    parts = team.stack(torch.cat([count, mean, _per_channel(deviations * deviations)]))  # (ranks, 1 + 2 C)
    counts, (means, squares) = parts[:, :1], parts[:, 1:].chunk(2, 1)  # (ranks, 1), (ranks, C)
    count = counts.sum(0)  # (1,)
    mean = (counts * means).sum(0) / count
    variance = (squares + counts * (means - mean) ** 2).sum(0) / count
    return mean, variance, count


def _per_channel(x: Tensor) -> Tensor:
    """Return the sum (C,) over all other dimensions of x (B, C, ...), in float64."""
    return x.sum([0, *range(2, x.dim())], dtype=torch.float64)
