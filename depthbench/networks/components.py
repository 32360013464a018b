"""The normalisations, activations and initialisations that every architecture offers."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthbench.networks.layers import Weighted
from depthbench.networks.options import BuiltOptions
from depthbench.networks.tailored import tailored_slope

Activation = Callable[[Tensor], Tensor]


def identity(x: Tensor) -> Tensor:
    """Return x itself."""
    return x


ACTIVATIONS: dict[str, Activation] = {
    "relu": F.relu_,  # in place: no derivative in these networks needs its input
    "tanh": F.tanh,
    "sigmoid": F.sigmoid,
    "gelu": F.gelu,
    "silu": F.silu,
    "elu": F.elu,
    "selu": F.selu,
    "leaky_relu": F.leaky_relu,
    "softplus": F.softplus,
    "identity": identity,
}
OUT_OF_PLACE = ACTIVATIONS | {"relu": F.relu}  # where the input is still needed


class Nonlinearity(NamedTuple):
    """The activation of a network."""

    in_place: Activation
    out_of_place: Activation  # where the input is still needed


@dataclass(frozen=True)
class TailoredReLU:
    """Leaky ReLU scaled so that it keeps the second moment of normal numbers (Zhang et al. 2022,
    arXiv:2203.08120)."""

    slope: float

    def __call__(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x, self.slope) * (2 / (1 + self.slope**2)) ** 0.5


def make_nonlinearity(options: BuiltOptions) -> Nonlinearity:
    """Return the activation of a network. That of TAT depends on how many of them follow each other."""
    if options.tat_eta:
        tailored = TailoredReLU(tailored_slope(options.nonlinear_layers, options.tat_eta))
        return Nonlinearity(tailored, tailored)
    return Nonlinearity(ACTIVATIONS[options.activation], OUT_OF_PLACE[options.activation])


def make_norm(name: str, channels: int, batch: type[nn.Module] = nn.BatchNorm2d) -> nn.Module:
    """Return a normalisation of (B, C, H, W), or of (B, C, T) if `batch` is nn.BatchNorm1d.

    batch: each channel over the batch (Ioffe & Szegedy 2015, arXiv:1502.03167). none: the identity. group:
    groups of 8 channels of each image, or all channels if 8 does not divide them (Wu & He 2018,
    arXiv:1803.08494). layer: all channels of each image (Ba et al. 2016, arXiv:1607.06450)."""
    if name == "group":
        return nn.GroupNorm(channels // 8 if channels % 8 == 0 else 1, channels)
    if name == "layer":
        return nn.GroupNorm(1, channels)
    return {"batch": batch, "none": nn.Identity}[name](channels)


def halve(x: Tensor) -> Tensor:
    """Return the 2x2 max pooling of x (B, C, H, W). A side of one pixel stays."""
    return F.max_pool2d(x, (min(2, x.shape[2]), min(2, x.shape[3])))


def to_side(x: Tensor, side: int) -> Tensor:
    """Return x (B, C, H, W) averaged to, or repeated in, `side` x `side` pixels, which a linear map needs."""
    return x if x.shape[2:] == (side, side) else F.adaptive_avg_pool2d(x, side)


class Gating(nn.Module):
    """The mark of a gate, whose output is between 0 and 1. The probe `gate_mean` looks for it."""


class Scale(nn.Module):
    """A learned factor of a residual branch or of a part of it: x -> scale * x, of the shape of x.

    `shape` is that of the factor: () for one number, or (C, 1, 1) for one number per channel of (B, C, H, W).
    All its numbers begin at `initial`. Its module is what the probe `scale` looks for."""

    def __init__(self, initial: float, *shape: int):
        super().__init__()
        self.scale = nn.Parameter(torch.full(shape, float(initial)))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x


def initialise(layers: Iterable[Weighted], init: str) -> None:
    """Fill the weights of convolutions and linear maps, in order, from torch's global generator.

    he: normal, variance 2/fan_in (He et al. 2015, arXiv:1502.01852, eq. 10). xavier: uniform, variance
    2/(fan_in + fan_out) (Glorot & Bengio 2010, eq. 16). orthogonal: Saxe et al. 2014, arXiv:1312.6120.
    delta_orthogonal: as `orthogonal`, but kernels are zero except for their centre. normal:STD: normal with
    this standard deviation. Biases are zero."""
    for layer in layers:
        if init == "he":
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        elif init == "xavier":
            nn.init.xavier_uniform_(layer.weight)
        elif init == "orthogonal":
            nn.init.orthogonal_(layer.weight)
        elif init == "delta_orthogonal":
            delta_orthogonal_(layer)
        else:
            nn.init.normal_(layer.weight, std=float(init.removeprefix("normal:")))
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


@torch.no_grad()
def delta_orthogonal_(layer: Weighted) -> None:
    """Fill a weight (O, I, ...) with zeros and, at the centre of its kernel, an orthogonal matrix (O, I).

    With stride 1 and O >= I, such a convolution keeps the L2 norm of its input exactly, also at the borders
    (Xiao et al. 2018, arXiv:1806.05393). The groups of a grouped convolution have a matrix each.
    A linear map is orthogonal."""
    layer.weight.zero_()
    for group in layer.weight.chunk(getattr(layer, "groups", 1)):
        centre = group
        for size in group.shape[2:]:
            centre = centre.select(2, size // 2)
        centre.copy_(nn.init.orthogonal_(torch.empty_like(centre, memory_format=torch.contiguous_format)))


@dataclass(frozen=True)
class InputDropout:
    """A hook that drops each number that enters a layer in training."""

    probability: float

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
        return F.dropout(inputs[0], self.probability, layer.training)


def drop_input(layer: nn.Module, probability: float) -> None:
    """Make `layer` drop each number that enters it in training with this probability."""
    if probability:
        layer.register_forward_pre_hook(InputDropout(probability))
