"""NETWORKS: every network family, at a glance.

`NETWORKS[name](depth=20, in_channels=3, num_classes=10, ...)` gives an `nn.Module`. To make twins,
call `torch.manual_seed(seed)` before each build."""

import math
from dataclasses import dataclass

from depthbench.errors import BadInput
from depthbench.registry import Entry


@dataclass(frozen=True)
class DepthRule:
    """The depths that a family has: `step * n + offset`, n >= 1 (He et al. 2015, sec. 4.2: 6n+2)."""

    step: int = 1
    offset: int = 0

    def __str__(self):
        if (self.step, self.offset) == (1, 0):
            return "any"
        return f"{self.step if self.step > 1 else ''}n+{self.offset}"

    def n(self, depth: int) -> int:
        """The n of a depth. Raises BadInput naming the nearest depths that exist."""
        n, rest = divmod(depth - self.offset, self.step)
        if rest or n < 1:
            below, above = (self.step * max(k, 1) + self.offset for k in (n, n + 1))
            near = f"{below}" if below == above else f"{below} or {above}"
            raise BadInput(f"depth {depth} is not {self}, n >= 1; nearest: {near}")
        return n

    def depth(self, n: int) -> int | None:
        """The depth of n, 1 for the least."""
        return self.step * n + self.offset


@dataclass(frozen=True)
class DepthList:
    """The depths of a family that has no others (He et al. 2015, Table 1)."""

    depths: tuple[int, ...]

    def __str__(self):
        return ", ".join(map(str, self.depths))

    def n(self, depth: int) -> int:
        """The place of a depth in the list, from 1. Raises BadInput naming the depths that there are."""
        if depth not in self.depths:
            raise BadInput(f"depth {depth} is none of {self}")
        return self.depths.index(depth) + 1

    def depth(self, n: int) -> int | None:
        """The n-th depth, from 1; None beyond the last."""
        return self.depths[n - 1] if n <= len(self.depths) else None


@dataclass(frozen=True)
class Family(Entry):
    """A network family: where its builder is, the depths it has, the twin it is matched with, and the options
    (of study.NetworkOptions, by name) that it takes; None where these are not known, as of a plug-in."""

    depths: DepthRule | DepthList = DepthRule()
    twin: str | None = None
    takes: frozenset[str] | None = None
    flattens: bool = False
    """Whether it is built for flattened images, each pixel of each channel a channel of its own."""

    fuses: bool = True
    """Whether `--step compiled` has anything to compile in it; a plug-in's is seen when it is built."""

    def in_channels(self, shape: tuple[int, int, int]) -> int:
        """What its builder is given as `in_channels` for images (C, H, W)."""
        return math.prod(shape) if self.flattens else shape[0]


def _twins(
    plain: str, residual: str, about: str, target: str, depths, takes, *, flattens=False, fuses=True, **own
) -> dict[str, Family]:
    """A plain family and the residual one that it is matched with."""

    def family(name: str, kind: str, twin: str) -> Family:
        options = {"residual": name == residual, **own}
        return Family(target, f"{kind} {about}", options, depths, twin, takes, flattens, fuses)

    return {plain: family(plain, "plain", residual), residual: family(residual, "residual", plain)}


CIFAR = "depthbench.networks.cifar:CifarNet"
IMAGENET = "depthbench.networks.imagenet:ImageNetNet"
MLP = "depthbench.networks.mlp:Mlp"

SIX_N_PLUS_2, NINE_N_PLUS_2, TWO_N_PLUS_2 = DepthRule(6, 2), DepthRule(9, 2), DepthRule(2, 2)
FIVE_OF_IMAGENET = DepthList((18, 34, 50, 101, 152))
IMAGENET_BOTTLENECKS_FROM = 50  # layers

OF_MLP = frozenset({"width", "norm", "init", "activation", "dropout", "branch_scale"})
OF_IMAGENET = OF_MLP | {"shortcut", "bottleneck_stride"}
OF_CIFAR = OF_IMAGENET | {"order", "shortcut_scale", "gate", "gate_bias", "shortcut_dropout"}

NETWORKS: dict[str, Family] = {
    **_twins(
        *("plain", "resnet", "CIFAR network, 3x3 convolutions (He et al. 2015, sec. 4.2)"),
        *(CIFAR, SIX_N_PLUS_2, OF_CIFAR),
    ),
    **_twins(
        *("plain_bottleneck", "resnet_bottleneck", "CIFAR network, bottlenecks (He et al. 2016, Table 2)"),
        *(CIFAR, NINE_N_PLUS_2, OF_CIFAR),
        bottleneck=True,
    ),
    **_twins(
        *("preplain", "preresnet", "CIFAR network, full pre-activation (He et al. 2016, sec. 4)"),
        *(CIFAR, SIX_N_PLUS_2, OF_CIFAR),
        order="full_pre",
    ),
    **_twins(
        *("preplain_bottleneck", "preresnet_bottleneck"),
        "CIFAR network, bottlenecks, full pre-activation (He et al. 2016, sec. 4)",
        *(CIFAR, NINE_N_PLUS_2, OF_CIFAR),
        bottleneck=True,
        order="full_pre",
    ),
    **_twins(
        *("plain_imagenet", "resnet_imagenet", "ImageNet network (He et al. 2015, Table 1)"),
        *(IMAGENET, FIVE_OF_IMAGENET, OF_IMAGENET),
    ),
    **_twins(
        *("plain_mlp", "resnet_mlp", "fully connected network, pre-activation (He et al. 2016, sec. 4)"),
        *(MLP, TWO_N_PLUS_2, OF_MLP),
        flattens=True,
        fuses=False,
    ),
}
