"""CIFAR residual networks and their plain twins (He et al. 2015, arXiv:1512.03385, sec. 4.2).

Depth is 6n + 2 weighted layers. Shapes: B batch, C channels, H W pixels."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthbench.errors import BadInput
from depthbench.networks import SIX_N_PLUS_2
from depthbench.networks.checkpointing import in_turn
from depthbench.networks.fusing import in_parts
from depthbench.networks.layers import Layer
from depthbench.networks.parts import ACTIVATIONS, initialise, make_norm


def conv3x3(c_in: int, c_out: int, stride: int, bias: bool) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, 3, stride, padding=1, bias=bias)


class PadShortcut(nn.Module):
    """Option A (sec. 3.3): the identity, every second pixel of it where the map shrinks, with zero
    channels added evenly on both sides. It has no parameters."""

    def __init__(self, c_in: int, c_out: int, stride: int):
        super().__init__()
        self.stride, self.added = stride, c_out - c_in

    def forward(self, x: Tensor) -> Tensor:  # (B, C_in, H, W)
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
        if self.added:
            x = F.pad(x, (0, 0, 0, 0, self.added // 2, self.added - self.added // 2))
        return x  # (B, C_out, H/stride, W/stride)


class Block(nn.Module):
    """Two 3x3 convolutions; `residual` adds the shortcut and changes nothing else."""

    def __init__(self, c_in, c_out, stride, *, residual, shortcut, norm, activation, dropout):
        super().__init__()
        bias = norm == "none"  # a norm's own shift makes it redundant
        self.conv1 = conv3x3(c_in, c_out, stride, bias)
        self.norm1 = make_norm(norm, c_out)
        self.conv2 = conv3x3(c_out, c_out, 1, bias)
        self.norm2 = make_norm(norm, c_out)
        self.activation, self.dropout, self.residual = ACTIVATIONS[activation], dropout, residual
        self.respond = in_parts  # or fusing.Fused
        if residual:
            changes = stride > 1 or c_in != c_out
            if shortcut == "C" or (shortcut == "B" and changes):
                projection = nn.Conv2d(c_in, c_out, 1, stride, bias=bias)
                self.shortcut = nn.Sequential(projection, make_norm(norm, c_out))
            else:
                self.shortcut = PadShortcut(c_in, c_out, stride)

    def forward(self, x: Tensor) -> Tensor:  # (B, C_in, H, W)
        y = self.respond(self.norm1, self.activation, self.conv1(x))  # (B, C_out, H/stride, W/stride)
        if self.dropout:
            y = F.dropout(y, self.dropout, self.training)
        shortcut = self.shortcut(x) if self.residual else None
        return self.respond(self.norm2, self.activation, self.conv2(y), shortcut)


class CifarNet(nn.Module):
    """A 3x3 convolution, 3 stages of n blocks of `width`, 2 and 4 times `width` filters, global average
    pooling and a linear classifier: (B, in_channels, H, W) -> logits (B, num_classes).

    The plain network and the residual one of the same depth and options have, after the same
    `torch.manual_seed`, the same initial weights in every layer, whatever the shortcut option.
    Raises BadInput for a depth that is not 6n + 2 and for an unknown shortcut."""

    def __init__(
        self,
        depth: int,
        in_channels: int = 3,
        num_classes: int = 10,
        *,
        residual: bool,
        width: int = 16,
        shortcut: str = "A",
        norm: str = "batch",
        init: str = "he",
        activation: str = "relu",
        dropout: float = 0.0,
    ):
        super().__init__()
        n = SIX_N_PLUS_2.n(depth)
        if shortcut not in ("A", "B", "C"):
            raise BadInput(f"shortcut {shortcut!r}: should be A, B or C")
        options = {
            "residual": residual,
            "shortcut": shortcut,
            "norm": norm,
            "activation": activation,
            "dropout": dropout,
        }
        # torch draws default weights as it builds; keep them out of the generator, so that a projection
        # in the residual network does not shift what the other layers draw below.
        with torch.random.fork_rng(devices=[]):
            self.conv1 = conv3x3(in_channels, width, 1, bias=norm == "none")
            self.norm1 = make_norm(norm, width)
            self.activation = ACTIVATIONS[activation]
            self.stages = nn.ModuleList()
            c_in = width
            for stage, c_out in enumerate((width, 2 * width, 4 * width)):
                strides = [1 if stage == 0 else 2] + [1] * (n - 1)
                blocks = []
                for stride in strides:
                    blocks.append(Block(c_in, c_out, stride, **options))
                    c_in = c_out
                self.stages.append(nn.Sequential(*blocks))
            self.fc = nn.Linear(c_in, num_classes)
        self.run_blocks = in_turn  # or checkpointing.Recomputed
        self.respond = in_parts  # or fusing.Fused
        layers = self.weighted_layers()
        initialise([layer.weighted for layer in layers], init)
        projections = [m for m in self.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1)]
        initialise(projections, init)

    def forward(self, x: Tensor) -> Tensor:  # (B, in_channels, H, W)
        x = self.respond(self.norm1, self.activation, self.conv1(x))  # (B, width, H, W)
        x = self.run_blocks(self.blocks(), x)  # (B, 4 width, H/4, W/4): H/2, W/2 from the second stage on
        return self.fc(x.mean((2, 3)))  # (B, num_classes)

    def blocks(self) -> list[nn.Module]:
        """The 3n blocks, input side first; each is called on the output of the one before."""
        return [block for stage in self.stages for block in stage]

    def weighted_layers(self) -> list[Layer]:
        """The 6n + 2 weighted layers, input side first."""
        layers = [_layer("conv1", "conv1", self.conv1, self.norm1)]
        for s, stage in enumerate(self.stages):
            for b, block in enumerate(stage):
                for k, conv, norm in ((1, block.conv1, block.norm1), (2, block.conv2, block.norm2)):
                    layers.append(_layer(f"stages.{s}.{b}.conv{k}", str(s + 1), conv, norm))
        return [*layers, Layer("fc", "fc", self.fc, self.fc)]


def _layer(name: str, stage: str, conv: nn.Module, norm: nn.Module) -> Layer:
    return Layer(name, stage, conv, conv if isinstance(norm, nn.Identity) else norm)
