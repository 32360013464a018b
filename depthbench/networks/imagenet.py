"""ImageNet residual networks and their plain twins (He et al. 2015, arXiv:1512.03385, Table 1).

18 and 34 weighted layers in blocks of two 3x3 convolutions; 50, 101 and 152 in bottlenecks. Shapes: B batch,
C channels, H W pixels."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthbench.networks import FIVE_OF_IMAGENET, IMAGENET_BOTTLENECKS_FROM
from depthbench.networks.blocks import STRIDED, Block, basic, layers_of, narrowed
from depthbench.networks.checkpointing import in_turn
from depthbench.networks.components import ACTIVATIONS, check_option, initialise, make_norm
from depthbench.networks.fusing import in_parts
from depthbench.networks.layers import Layer, response_of
from depthbench.networks.orders import ORDERS
from depthbench.networks.shortcuts import OPTIONS

BLOCKS = {  # of each stage
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}


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
        has_bottlenecks = depth >= IMAGENET_BOTTLENECKS_FROM
        shortcut = shortcut or ("B" if has_bottlenecks else "A")
        check_option("shortcut", shortcut, OPTIONS)
        check_option("bottleneck_stride", bottleneck_stride, STRIDED)
        bias = norm == "none"  # a norm's own shift makes it redundant
        make_convolutions = partial(narrowed, strided=bottleneck_stride) if has_bottlenecks else basic
        make_block = partial(
            Block,
            is_first=False,  # which matters to other orders
            order=ORDERS["original"],
            residual=residual,
            shortcut=shortcut,
            norm=norm,
            activation=activation,
            dropout=dropout,
            shortcut_scale=1.0,
            branch_scale=branch_scale,
            gate="none",
            shortcut_dropout=0.0,
        )
        # torch draws default weights as it builds; keep them out of the generator, so that a projection
        # in the residual network does not shift what the other layers draw below.
        with torch.random.fork_rng(devices=[]):
            self.conv1 = nn.Conv2d(in_channels, width, 7, 2, padding=3, bias=bias)
            self.norm1 = make_norm(norm, width)
            self.activation = ACTIVATIONS[activation]
            self.stages = nn.ModuleList()
            c = width
            for stage, count in enumerate(BLOCKS[depth]):
                blocks = []
                for i in range(count):
                    filters, stride = 2**stage * width, 2 if stage > 0 and i == 0 else 1
                    convolutions = make_convolutions(c, filters, stride, bias)
                    blocks.append(make_block(convolutions))
                    c = convolutions[-1].out_channels
                self.stages.append(nn.Sequential(*blocks))
            self.fc = nn.Linear(c, num_classes)
        self.run_blocks = in_turn  # or checkpointing.Recomputed
        self.respond = in_parts  # or fusing.Fused
        shared = dict.fromkeys(layer.weighted for layer in self.weighted_layers())
        initialise(shared, init)
        initialise([m for m in self.modules() if isinstance(m, nn.Conv2d) and m not in shared], init)

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
        first = Layer("conv1", "conv1", self.conv1, response_of(self.conv1, self.norm1))
        return [first, *layers_of(self.stages), Layer("fc", "fc", self.fc, self.fc)]
