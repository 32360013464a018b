"""What a shortcut carries: zero-padded identity, projection, gate (He et al. 2015, arXiv:1512.03385, sec.
3.3; He et al. 2016, arXiv:1603.05027, sec. 3).

Shapes: B batch, C channels, H W pixels."""

import torch.nn.functional as F
from torch import Tensor, nn

from depthbench.networks.components import make_norm

OPTIONS = ("A", "B", "C")
GATES = ("none", "exclusive", "shortcut_only")


class PadShortcut(nn.Module):
    """Option A (He et al. 2015, sec. 3.3): the identity, every second pixel of it where the map shrinks, with
    zero channels added evenly on both sides. It has no parameters."""

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
    """g(x), the sigmoid of a 1x1 convolution of x: (B, C_in, H, W) -> (B, C_out, H/stride, W/stride), between
    0 and 1 (He et al. 2016, sec. 3.1). Its initial bias is for its network to set."""

    def __init__(self, c_in: int, c_out: int, stride: int):
        super().__init__(c_in, c_out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).sigmoid_()


def dropped(x: Tensor, probability: float, training: bool) -> Tensor:
    """x with each number zero at `probability` in training, and times 1 - `probability` in evaluation (Hinton
    et al. 2012, arXiv:1207.0580). What is kept is not scaled up, as is common today: it is this scale of
    less than 1 that makes the shortcut of He et al. 2016 (sec. 3.1) fail."""
    return (1 - probability) * F.dropout(x, probability, training)


def make_shortcut(option: str, c_in: int, c_out: int, stride: int, norm: str, own_norm: str) -> nn.Module:
    """The shortcut of a block: A pads with zeros, B projects where the block changes the shape, C everywhere.

    norm: that of the network, without which a projection has a bias; own_norm: what follows it."""
    changes = stride > 1 or c_in != c_out
    if option == "A" or (option == "B" and not changes):
        return PadShortcut(c_in, c_out, stride)
    projection = nn.Conv2d(c_in, c_out, 1, stride, bias=norm == "none")
    return nn.Sequential(projection, make_norm(own_norm, c_out))
