"""ImageNet residual networks and their plain twins (He et al. 2015, arXiv:1512.03385, Table 1).

18 and 34 weighted layers in blocks of two 3x3 convolutions; 50, 101 and 152 in bottlenecks. Shapes: B batch,
C channels, H W pixels."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthbench.errors import BadInput
from depthbench.networks import FIVE_OF_IMAGENET
from depthbench.networks.checkpointing import in_turn
from depthbench.networks.fusing import in_parts
from depthbench.networks.layers import Layer
from depthbench.networks.parts import ACTIVATIONS, initialise, make_norm
from depthbench.networks.shortcuts import OPTIONS, make_shortcut

BLOCKS = {  # of each stage
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
BOTTLENECKS_FROM = 50  # layers
EXPANSION = 4  # filters of a bottleneck's last convolution, to those of the others

Shape = tuple[int, int, int]  # kernel size, filters, stride


def basic(filters: int, stride: int) -> list[Shape]:
    """The convolutions of a block of 18 or 34 layers (Figure 5, left)."""
    return [(3, filters, stride), (3, filters, 1)]


def bottleneck(filters: int, stride: int, strided: str) -> list[Shape]:
    """The convolutions of a bottleneck (Figure 5, right); `strided` says which halves the map: 1x1 or 3x3."""
    first, second = (stride, 1) if strided == "1x1" else (1, stride)
    return [(1, filters, first), (3, filters, second), (1, EXPANSION * filters, 1)]


class Block(nn.Module):
    """Convolutions of given shapes, each with its norm and activation; `residual` adds the shortcut before
    the last activation, and changes nothing else. branch_scale: of what is added to the shortcut."""

    def __init__(
        self,
        c_in: int,
        shapes: list[Shape],
        *,
        residual: bool,
        shortcut: str,
        norm: str,
        activation: str,
        dropout: float,
        branch_scale: float,
    ):
        super().__init__()
        self.activation, self.dropout, self.residual = ACTIVATIONS[activation], dropout, residual
        self.branch_scale = branch_scale
        self.respond = in_parts  # or fusing.Fused
        self.depth = len(shapes)
        bias = norm == "none"  # a norm's own shift makes it redundant
        c, stride = c_in, 1
        for k, (kernel, filters, step) in enumerate(shapes, 1):
            conv = nn.Conv2d(c, filters, kernel, step, padding=kernel // 2, bias=bias)
            self.add_module(f"conv{k}", conv)
            self.add_module(f"norm{k}", make_norm(norm, filters))
            c, stride = filters, stride * step
        if residual:
            self.shortcut = make_shortcut(shortcut, c_in, c, stride, norm, own_norm=norm)

    def layers(self) -> list[tuple[str, nn.Module, nn.Module]]:
        """Name, convolution and norm of each weighted layer, input side first."""
        numbers = range(1, self.depth + 1)
        return [(f"conv{k}", getattr(self, f"conv{k}"), getattr(self, f"norm{k}")) for k in numbers]

    def projection(self) -> nn.Module | None:
        """The shortcut's 1x1 convolution, where it has one."""
        return self.shortcut[0] if self.residual and isinstance(self.shortcut, nn.Sequential) else None

    def forward(self, x: Tensor) -> Tensor:  # (B, C_in, H, W)
        y, (*inner, (_, conv, norm)) = x, self.layers()
        for _, inner_conv, inner_norm in inner:
            y = self.respond(inner_norm, self.activation, inner_conv(y))
            if self.dropout:
                y = F.dropout(y, self.dropout, self.training)
        shortcut = self.shortcut(x) if self.residual else None
        if self.residual and self.branch_scale != 1:
            return self.activation(self.branch_scale * norm(conv(y)) + shortcut)
        return self.respond(norm, self.activation, conv(y), shortcut)  # (B, C_out, H/stride, W/stride)


class ImageNetNet(nn.Module):
    """A 7x7 convolution and 3x3 max pooling, both of stride 2, 4 stages of blocks with `width`, 2, 4 and 8
    times `width` filters (4 times as many after each bottleneck), global average pooling and a linear
    classifier: (B, in_channels, H, W) -> logits (B, num_classes).

    shortcut: A, B or C; unset, A for basic blocks and B for bottlenecks, as in Table 3. bottleneck_stride:
    1x1, which has the paper's multiply-adds, or 3x3, as torchvision has it. The plain network and the
    residual one of the same depth and options have, after the same `torch.manual_seed`, the same initial
    weights in every layer that both have. Raises BadInput for another depth and for an unknown option."""

    def __init__(
        self,
        depth: int,
        in_channels: int = 3,
        num_classes: int = 1000,
        *,
        residual: bool,
        width: int = 64,
        shortcut: str | None = None,
        norm: str = "batch",
        init: str = "he",
        activation: str = "relu",
        dropout: float = 0.0,
        branch_scale: float = 1.0,
        bottleneck_stride: str = "1x1",
    ):
        super().__init__()
        FIVE_OF_IMAGENET.n(depth)
        if shortcut not in (None, *OPTIONS):
            raise BadInput(f"shortcut {shortcut!r}: should be A, B or C")
        if bottleneck_stride not in ("1x1", "3x3"):
            raise BadInput(f"bottleneck_stride {bottleneck_stride!r}: should be 1x1 or 3x3")
        has_bottlenecks = depth >= BOTTLENECKS_FROM
        options = {
            "residual": residual,
            "shortcut": shortcut or ("B" if has_bottlenecks else "A"),
            "norm": norm,
            "activation": activation,
            "dropout": dropout,
            "branch_scale": branch_scale,
        }
        # torch draws default weights as it builds; keep them out of the generator, so that a projection
        # in the residual network does not shift what the other layers draw below.
        with torch.random.fork_rng(devices=[]):
            self.conv1 = nn.Conv2d(in_channels, width, 7, 2, padding=3, bias=norm == "none")
            self.norm1 = make_norm(norm, width)
            self.activation = ACTIVATIONS[activation]
            self.stages = nn.ModuleList()
            c = width
            for stage, count in enumerate(BLOCKS[depth]):
                blocks = []
                for i in range(count):
                    filters, stride = 2**stage * width, 2 if stage > 0 and i == 0 else 1
                    if has_bottlenecks:
                        shapes = bottleneck(filters, stride, bottleneck_stride)
                    else:
                        shapes = basic(filters, stride)
                    blocks.append(Block(c, shapes, **options))
                    c = shapes[-1][1]
                self.stages.append(nn.Sequential(*blocks))
            self.fc = nn.Linear(c, num_classes)
        self.run_blocks = in_turn  # or checkpointing.Recomputed
        self.respond = in_parts  # or fusing.Fused
        initialise([layer.weighted for layer in self.weighted_layers()], init)
        projections = [block.projection() for block in self.blocks()]
        initialise([projection for projection in projections if projection is not None], init)

    def forward(self, x: Tensor) -> Tensor:  # (B, in_channels, H, W)
        x = self.respond(self.norm1, self.activation, self.conv1(x))  # (B, width, H/2, W/2)
        x = F.max_pool2d(x, 3, 2, padding=1)  # (B, width, H/4, W/4)
        x = self.run_blocks(self.blocks(), x)  # (B, 8 width or 32 width, H/32, W/32)
        return self.fc(x.mean((2, 3)))  # (B, num_classes)

    def blocks(self) -> list[nn.Module]:
        """All blocks, input side first; each is called on the output of the one before."""
        return [block for stage in self.stages for block in stage]

    def weighted_layers(self) -> list[Layer]:
        """The `depth` weighted layers, input side first; the projections of shortcuts are none."""
        layers = [_layer("conv1", "conv1", self.conv1, self.norm1)]
        for s, stage in enumerate(self.stages):
            for b, block in enumerate(stage):
                for name, conv, norm in block.layers():
                    layers.append(_layer(f"stages.{s}.{b}.{name}", str(s + 1), conv, norm))
        return [*layers, Layer("fc", "fc", self.fc, self.fc)]


def _layer(name: str, stage: str, conv: nn.Module, norm: nn.Module) -> Layer:
    return Layer(name, stage, conv, conv if isinstance(norm, nn.Identity) else norm)
