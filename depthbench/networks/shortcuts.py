"""Shortcuts, and their addition to the branch (He et al. 2015, arXiv:1512.03385, sec. 3.3; He et al. 2016,
arXiv:1603.05027, sec. 3).

Shapes: B batch, C channels, H W pixels."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthbench.networks.components import Gating, Scale, make_norm
from depthbench.networks.options import initial_scale


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


class Gate(Gating, nn.Conv2d):
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


class ChannelGate(Gating):
    """A gate of each channel between 0 and 1, the sigmoid of two maps of the channels' means with ReLU in
    between (Hu et al. 2018, arXiv:1709.01507, eq. 2 and 3).

    (B, C, H, W) -> (B, C, 1, 1). The hidden layer has C / `reduction` units, and at least one."""

    def __init__(self, channels: int, reduction: int):
        super().__init__()
        hidden = max(1, channels // reduction)
        self.squeeze = nn.Conv2d(channels, hidden, 1)
        self.excite = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        s = x.mean((2, 3), keepdim=True)
        return self.excite(F.relu(self.squeeze(s))).sigmoid()


class SqueezeAndExcitation(nn.Module):
    """The end of a branch that multiplies each channel by its gate, g(y) y (Hu et al. 2018, eq. 4)."""

    def __init__(self, channels: int, reduction: int):
        super().__init__()
        self.gate = ChannelGate(channels, reduction)

    def forward(self, y: Tensor) -> Tensor:  # (B, C, H, W)
        return self.gate(y) * y


class StochasticDepth(nn.Module):
    """The branch of a block that takes part in a training step at the probability `survival` (Huang et al.
    2016, arXiv:1603.09382, sec. 3).

    One draw decides for the whole batch, or for the part of it that a process of several has. In evaluation
    the branch is multiplied by the probability. A dropped branch is computed as well, because a captured step
    cannot choose. Dropping thus saves no time, and the norms see every batch."""

    def __init__(self, survival: float):
        super().__init__()
        self.survival = survival

    def forward(self, y: Tensor) -> Tensor:  # (B, ...)
        if not self.training:
            return self.survival * y
        survives = torch.rand((), device=y.device) < self.survival
        return survives * y

    def extra_repr(self) -> str:
        return f"survival={self.survival:g}"


class ScaledAddition(Addition):
    """The sum b e(y) + drop(s h(x)) with a branch scale b, a shortcut scale s and dropout of the shortcut.

    e are the modules that end the branch, if there are any."""

    def __init__(
        self,
        shortcut: nn.Module,
        branch_end: nn.Sequential,
        *,
        branch_scale: float,
        shortcut_scale: float,
        dropout: float,
    ):
        super().__init__(shortcut)
        self.branch_end = branch_end
        self.branch_scale, self.shortcut_scale, self.dropout = branch_scale, shortcut_scale, dropout

    def carried(self, x: Tensor) -> Tensor:
        return self.scaled(self.shortcut(x))

    def __call__(self, y: Tensor, x: Tensor) -> Tensor:
        carried = self.carried(x)
        return times(self.branch_scale, self.branch_end(y)) + carried

    def scaled(self, h: Tensor) -> Tensor:
        """Return drop(s h)."""
        h = times(self.shortcut_scale, h)
        return drop_unscaled(h, self.dropout, self.shortcut.training) if self.dropout else h


class GatedAddition(ScaledAddition):
    """The sum b e(y) + drop(s (1 - g(x)) h(x)) with a gate g on the shortcut alone."""

    def __init__(self, shortcut: nn.Module, branch_end: nn.Sequential, *, gate: Gate, **scales: float):
        super().__init__(shortcut, branch_end, **scales)
        self.gate = gate

    def carried(self, x: Tensor) -> Tensor:
        h = self.shortcut(x)
        return self.scaled((1 - self.gate(x)) * h)


class ExclusiveAddition(GatedAddition):
    """The sum b g(x) e(y) + drop(s (1 - g(x)) h(x)) with a gate g on branch and shortcut."""

    def __call__(self, y: Tensor, x: Tensor) -> Tensor:
        h, g = self.shortcut(x), self.gate(x)
        carried = self.scaled((1 - g) * h)
        return times(self.branch_scale, g * self.branch_end(y)) + carried


def times(scale: float, x: Tensor) -> Tensor:
    """Return `scale` times x, without starting a kernel if the scale is 1."""
    return x if scale == 1 else scale * x


class BranchScale(Scale):
    """The learned factor of a residual branch. The network sets its initial value."""

    def set_initial(self, blocks: int) -> None:
        """Set the value at the start of training, in a network of `blocks` residual blocks."""
        kind = "channels" if self.scale.dim() else "scalar"
        nn.init.constant_(self.scale, initial_scale(kind, blocks))


def make_scale(kind: str, *shape: int) -> BranchScale:
    """Return the learned factor of a branch: `scalar`, or `channels` with the shape (C, 1, ...)."""
    return BranchScale(0) if kind == "scalar" else BranchScale(0, *shape)


def drop_unscaled(x: Tensor, probability: float, training: bool) -> Tensor:
    """Drop each number of x at `probability` in training; multiply by 1 - `probability` in evaluation.

    This is dropout as in Hinton et al. 2012 (arXiv:1207.0580). Today's dropout scales the remaining numbers
    up in training instead. He et al. 2016 (sec. 3.1) attribute the failure of dropout shortcuts to the scale
    below 1 that this imposes on average."""
    return (1 - probability) * F.dropout(x, probability, training)
