"""Shortcuts, and their addition to the branch (He et al. 2015, arXiv:1512.03385, sec. 3.3; He et al. 2016,
arXiv:1603.05027, sec. 3).

Shapes: B batch, C channels, H W pixels."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from depthbench.networks.components import Activation, Scale, identity, make_norm


class PadShortcut(nn.Module):
    """Option A (He et al. 2015, sec. 3.3): the identity without parameters.

    Where the map shrinks, it keeps every second pixel. Where the width grows, it pads zero channels evenly on
    both sides."""

    def __init__(self, c_in: int, c_out: int, stride: int):
        super().__init__()
        self.stride, self.added = stride, c_out - c_in

    def forward(self, x: Tensor) -> Tensor:  # (B, C_in, H, W)
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
        if self.added:
            x = F.pad(x, (0, 0, 0, 0, self.added // 2, self.added - self.added // 2))
        return x  # (B, C_out, H/stride, W/stride)


class Gate(nn.Conv2d):
    """A gate g(x) between 0 and 1, the sigmoid of a 1x1 convolution (He et al. 2016, sec. 3.1).

    (B, C_in, H, W) -> (B, C_out, H/stride, W/stride). The network sets its bias to `initial_bias`."""

    bias: nn.Parameter

    def __init__(self, c_in: int, c_out: int, stride: int, initial_bias: float):
        super().__init__(c_in, c_out, 1, stride)
        self.initial_bias = initial_bias

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).sigmoid_()


def make_shortcut(option: str, c_in: int, c_out: int, stride: int, *, own_norm: str, bias: bool) -> nn.Module:
    """Return the shortcut of a block: A pads with zeros, B projects where the shape changes, C everywhere.

    `own_norm` follows a projection, and `bias` is whether the projection has one."""
    changes = stride > 1 or c_in != c_out
    if option == "A" or (option == "B" and not changes):
        return PadShortcut(c_in, c_out, stride)
    projection = nn.Conv2d(c_in, c_out, 1, stride, bias=bias)
    return nn.Sequential(projection, make_norm(own_norm, c_out))


class NoAddition:
    """The end of a plain block: nothing is added to the branch."""

    def carried(self, x: Tensor) -> Tensor | None:
        """Return the term that the shortcut adds, given the block's input x; None without a shortcut."""
        return None

    def __call__(self, y: Tensor, x: Tensor) -> Tensor:
        """Return the sum of the branch y and of the shortcut's term for x."""
        return y


class Addition(NoAddition):
    """The sum of a residual block, y + h(x)."""

    def __init__(self, shortcut: nn.Module):
        self.shortcut = shortcut

    def carried(self, x: Tensor) -> Tensor:
        return self.shortcut(x)

    def __call__(self, y: Tensor, x: Tensor) -> Tensor:
        return y + self.shortcut(x)  # not in place: an activation may need its y


class ScaledAddition(Addition):
    """The sum b a(y) + drop(s h(x)) with a branch scale b, a shortcut scale s and dropout of the shortcut.

    a is a learned scale, or the identity."""

    def __init__(
        self,
        shortcut: nn.Module,
        *,
        branch_scale: float,
        shortcut_scale: float,
        dropout: float,
        learned_scale: Activation = identity,
    ):
        super().__init__(shortcut)
        self.branch_scale, self.shortcut_scale, self.dropout = branch_scale, shortcut_scale, dropout
        self.learned_scale = learned_scale

    def carried(self, x: Tensor) -> Tensor:
        return self.scaled(self.shortcut(x))

    def __call__(self, y: Tensor, x: Tensor) -> Tensor:
        carried = self.carried(x)
        return times(self.branch_scale, self.learned_scale(y)) + carried

    def scaled(self, h: Tensor) -> Tensor:
        """Return drop(s h)."""
        h = times(self.shortcut_scale, h)
        return drop_unscaled(h, self.dropout, self.shortcut.training) if self.dropout else h


class GatedAddition(ScaledAddition):
    """The sum b a(y) + drop(s (1 - g(x)) h(x)) with a gate g on the shortcut alone."""

    def __init__(self, shortcut: nn.Module, gate: Gate, **scales: Any):
        super().__init__(shortcut, **scales)
        self.gate = gate

    def carried(self, x: Tensor) -> Tensor:
        h = self.shortcut(x)
        return self.scaled((1 - self.gate(x)) * h)


class ExclusiveAddition(GatedAddition):
    """The sum b a(g(x) y) + drop(s (1 - g(x)) h(x)) with a gate g on branch and shortcut."""

    def __call__(self, y: Tensor, x: Tensor) -> Tensor:
        h, g = self.shortcut(x), self.gate(x)
        carried = self.scaled((1 - g) * h)
        return times(self.branch_scale, self.learned_scale(g * y)) + carried


def times(scale: float, x: Tensor) -> Tensor:
    """Return `scale` times x, without starting a kernel if the scale is 1."""
    return x if scale == 1 else scale * x


class BranchScale(Scale):
    """The learned factor of a residual branch. The network sets its initial value."""

    def set_initial(self, blocks: int) -> None:
        """Set the value at the start of training, in a network of `blocks` residual blocks.

        One number begins at 0 (Bachlechner et al. 2020, arXiv:2003.04887; De & Smith 2020, arXiv:2002.10444),
        one per channel at a small value (Touvron et al. 2021, arXiv:2103.17239, sec. 2)."""
        of_channels = 0.1 if blocks <= 18 else 1e-5 if blocks <= 24 else 1e-6
        nn.init.constant_(self.scale, of_channels if self.scale.dim() else 0.0)


def make_scale(kind: str, *shape: int) -> BranchScale:
    """Return the learned factor of a branch: `scalar`, or `channels` with the shape (C, 1, ...)."""
    return BranchScale(0) if kind == "scalar" else BranchScale(0, *shape)


def drop_unscaled(x: Tensor, probability: float, training: bool) -> Tensor:
    """Drop each number of x at `probability` in training; multiply by 1 - `probability` in evaluation.

    This is dropout as in Hinton et al. 2012 (arXiv:1207.0580). Today's dropout scales the remaining numbers
    up in training instead. He et al. 2016 (sec. 3.1) attribute the failure of dropout shortcuts to the scale
    below 1 that this imposes on average."""
    return (1 - probability) * F.dropout(x, probability, training)
