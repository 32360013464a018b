"""The choices that every family offers: normalisation, activation, initialisation."""

from collections.abc import Collection, Iterable

import torch.nn.functional as F
from torch import nn

from depthbench.errors import BadInput

ACTIVATIONS = {
    "relu": F.relu_,  # in place: no derivative of ours needs what was there before
    "tanh": F.tanh,
    "sigmoid": F.sigmoid,
    "gelu": F.gelu,
    "silu": F.silu,
    "elu": F.elu,
    "selu": F.selu,
    "leaky_relu": F.leaky_relu,
    "softplus": F.softplus,
    "identity": lambda x: x,
}
OUT_OF_PLACE = ACTIVATIONS | {"relu": F.relu}  # for what is still needed as it was


def check_option(name: str, value: str, known: Collection[str]) -> None:
    """Raises BadInput for a value that is not known."""
    if value not in known:
        *others, last = known
        raise BadInput(f"{name} {value!r}: should be {', '.join(others)} or {last}")


def make_norm(name: str, channels: int) -> nn.Module:
    """`batch`, `none`, `group` (groups of 8 channels, or all channels where 8 do not divide them) or
    `layer` (over channels and space: one group) normalisation of (B, C, H, W)."""
    if name == "group":
        return nn.GroupNorm(channels // 8 if channels % 8 == 0 else 1, channels)
    return {
        "batch": nn.BatchNorm2d,
        "none": lambda channels: nn.Identity(),
        "layer": lambda channels: nn.GroupNorm(1, channels),
    }[name](channels)


def initialise(layers: Iterable[nn.Module], init: str) -> None:
    """Fill the weights of convolutions and linear maps, in order, from torch's global generator.

    he: normal, variance 2/fan_in (He et al. 2015, arXiv:1502.01852, eq. 10); xavier: uniform, variance
    2/(fan_in + fan_out) (Glorot & Bengio 2010, eq. 16); orthogonal (Saxe et al. 2014); normal:STD:
    normal with that standard deviation. Biases are zero."""
    for layer in layers:
        if init == "he":
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        elif init == "xavier":
            nn.init.xavier_uniform_(layer.weight)
        elif init == "orthogonal":
            nn.init.orthogonal_(layer.weight)
        else:
            nn.init.normal_(layer.weight, std=float(init.removeprefix("normal:")))
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
