"""The blocks of the CIFAR and ImageNet networks: basic and bottleneck, in every order of norm and activation,
with every shortcut (He et al. 2015, arXiv:1512.03385, Fig. 5; He et al. 2016, arXiv:1603.05027, Fig. 2, 4).

Shapes: B batch, C channels, H W pixels."""

from collections.abc import Sequence
from math import prod

import torch.nn.functional as F
from torch import Tensor, nn

from depthbench.networks.components import ACTIVATIONS, make_norm
from depthbench.networks.fusing import in_parts
from depthbench.networks.layers import Layer, response_of
from depthbench.networks.orders import Order, first_activation, follow
from depthbench.networks.shortcuts import Gate, dropped, make_shortcut
from depthbench.networks.small_maps import Convolution

STRIDED = ("1x1", "3x3")  # the convolutions of a bottleneck that may shrink the map
EXPANSION = 4  # a bottleneck gives so many times as many channels as it works on


def convolution(size: int, c_in: int, c_out: int, stride: int, bias: bool) -> nn.Conv2d:
    if (size, stride) == (3, 1):
        return Convolution(c_in, c_out, bias)
    return nn.Conv2d(c_in, c_out, size, stride, padding=size // 2, bias=bias)


def basic(c_in: int, width: int, stride: int, bias: bool) -> list[nn.Conv2d]:
    """Two 3x3 convolutions, the first of which shrinks the map."""
    return [convolution(3, c_in, width, stride, bias), convolution(3, width, width, 1, bias)]


def narrowed(c_in: int, width: int, stride: int, bias: bool, strided: str = "1x1") -> list[nn.Conv2d]:
    """A 1x1 convolution to `width` channels, a 3x3 one, and a 1x1 one to four times as many; `strided` (of
    STRIDED) says whether the first or the 3x3 one shrinks the map."""
    first, second = (stride, 1) if strided == "1x1" else (1, stride)
    return [
        convolution(1, c_in, width, first, bias),
        convolution(3, width, width, second, bias),
        convolution(1, width, EXPANSION * width, 1, bias),
    ]


class Block(nn.Module):
    """Convolutions in a row, with norm and activation as `order` says; `residual` adds the shortcut and
    changes nothing else: without it, scales and gate say nothing.

    With F the branch, h the shortcut, b and s their scales, the sum is b F(x) + s h(x); with a gate g,
    b F(x) + (1 - g(x)) s h(x), and b g(x) F(x) for the first term if the gate is exclusive.

    The first block of a network (`is_first`) is given its input normalised and activated; an order that
    activates before convolutions does not do it once more there (He et al. 2016, appendix). Where the shape
    changes, or the shortcut projects, such an order activates before shortcut and branch part; the shortcut,
    padded or projected, and the gate take that. So say the appendix, of projections, and the published code
    (github.com/KaimingHe/resnet-1k-layers), of all blocks that change the width."""

    def __init__(
        self,
        convolutions: Sequence[nn.Conv2d],
        *,
        is_first: bool,
        order: Order,
        residual: bool,
        shortcut: str,
        norm: str,
        activation: str,
        dropout: float,
        shortcut_scale: float,
        branch_scale: float,
        gate: str,
        shortcut_dropout: float,
    ):
        super().__init__()
        self.order, self.residual = order, residual
        for k, conv in enumerate(convolutions, 1):
            self.add_module(f"conv{k}", conv)
            is_given = k == 1 and is_first and "N" in order.before
            channels = conv.in_channels if "N" in order.before else conv.out_channels
            self.add_module(f"norm{k}", make_norm("none" if is_given else norm, channels))
        # in their order, for forward, which looks none of them up by name
        self.convolutions = tuple(convolutions)
        self.norms = tuple(getattr(self, f"norm{k}") for k in range(1, len(convolutions) + 1))
        self.before_first = "" if is_first else order.before
        self.activation = ACTIVATIONS[activation]
        self.first_activation = first_activation(order, norm, activation)
        self.respond = in_parts  # or fusing.Fused
        self.branch_dropout = dropout
        self.shortcut_dropout = shortcut_dropout if residual else 0.0
        if residual:
            c_in, c_out = convolutions[0].in_channels, convolutions[-1].out_channels
            stride = prod(conv.stride[0] for conv in convolutions)
            # a projection is followed by a norm where the branch that it is added to is
            own_norm = norm if "N" in order.after_last else "none"
            self.shortcut = make_shortcut(shortcut, c_in, c_out, stride, norm, own_norm)
            self.is_common = shortcut == "C" or stride > 1 or c_in != c_out
            self.shortcut_scale, self.branch_scale = shortcut_scale, branch_scale
            self.gate = None if gate == "none" else Gate(c_in, c_out, stride)
            self.is_exclusive = gate == "exclusive"

    @property
    def dropout(self) -> bool:
        """Whether it draws random numbers (see checkpointing.draws)."""
        return bool(self.branch_dropout or self.shortcut_dropout)

    def forward(self, x: Tensor) -> Tensor:  # (B, C_in, H, W)
        inner, last = self.convolutions[:-1], self.convolutions[-1]
        y = follow(self.before_first, self.respond, self.norms[0], self.first_activation, x)
        taken = y if self.residual and self.is_common else x
        for conv, norm in zip(inner, self.inner_norms(), strict=True):
            y = self.respond(norm, self.activation, conv(y))
            if self.branch_dropout:
                y = F.dropout(y, self.branch_dropout, self.training)
        z = last(y)  # (B, C_out, H/stride, W/stride)
        if self.residual:
            return self._join(z, taken)
        return self._follow(self.order.after_last + self.order.after_addition, z)

    def inner_norms(self) -> tuple[nn.Module, ...]:
        """The norm between each two convolutions, after the one or before the other."""
        return self.norms[:-1] if "N" in self.order.after else self.norms[1:]

    def responses(self) -> list[nn.Module]:
        """Whose output is the response of each convolution: of the norm right after it, or else its own."""
        last = self.norms[-1] if "N" in self.order.after_last else self.convolutions[-1]
        pairs = zip(self.convolutions, [*self.inner_norms(), last], strict=True)
        return [response_of(conv, norm) for conv, norm in pairs]

    def _join(self, z: Tensor, x: Tensor) -> Tensor:
        """What leaves the block, of the branch's last convolution z and the shortcut's input x."""
        carried = self.shortcut(x)  # as z: (B, C_out, H/stride, W/stride)
        g = None if self.gate is None else self.gate(x)
        if g is not None:
            carried = (1 - g) * carried
        if self.shortcut_scale != 1:
            carried = self.shortcut_scale * carried
        if self.shortcut_dropout:
            carried = dropped(carried, self.shortcut_dropout, self.training)
        is_whole = self.branch_scale == 1 and not self.is_exclusive
        if is_whole and (self.order.after_last, self.order.after_addition) == ("N", "A"):
            return self.respond(self.norms[-1], self.activation, z, carried)
        y = self._follow(self.order.after_last, z)
        if self.is_exclusive:
            y = g * y
        if self.branch_scale != 1:
            y = self.branch_scale * y
        return self._follow(self.order.after_addition, y + carried)  # an activation may still need its y

    def _follow(self, places: str, y: Tensor) -> Tensor:
        return follow(places, self.respond, self.norms[-1], self.activation, y)


def layers_of(stages: nn.ModuleList) -> list[Layer]:
    """The weighted layers of a network's `stages` of blocks, input side first; projections and gates are
    none."""
    layers = []
    for s, stage in enumerate(stages):
        for b, block in enumerate(stage):
            for k, (conv, response) in enumerate(zip(block.convolutions, block.responses(), strict=True), 1):
                layers.append(Layer(f"stages.{s}.{b}.conv{k}", str(s + 1), conv, response))
    return layers
