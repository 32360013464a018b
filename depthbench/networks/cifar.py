"""CIFAR residual networks and their plain twins (He et al. 2015, arXiv:1512.03385, sec. 4.2; He et al. 2016,
arXiv:1603.05027).

Depth is 6n + 2 weighted layers, or 9n + 2 with bottlenecks. Shapes: B batch, C channels, H W pixels."""

from functools import partial

import torch
from torch import Tensor, nn

from depthbench.networks import NINE_N_PLUS_2, SIX_N_PLUS_2
from depthbench.networks.blocks import STRIDED, Block, basic, convolution, layers_of, narrowed
from depthbench.networks.checkpointing import in_turn
from depthbench.networks.components import ACTIVATIONS, check_option, initialise, make_norm
from depthbench.networks.fusing import in_parts
from depthbench.networks.layers import Layer, response_of
from depthbench.networks.orders import ORDERS, first_activation, follow
from depthbench.networks.shortcuts import GATES, OPTIONS, Gate


class CifarNet(nn.Module):
    """A 3x3 convolution, 3 stages of n blocks that work on `width`, 2 and 4 times `width` channels, global
    average pooling and a linear classifier: (B, in_channels, H, W) -> logits (B, num_classes).

    Norm and activation follow the first convolution in every order. What an order has before a block's first
    convolution follows the last block too (He et al. 2016, appendix), so that all have as many norms.

    The plain network and the residual one of the same depth and options have, after the same
    `torch.manual_seed`, the same initial weights in every layer, whatever the shortcut, gate and order. A
    plain network makes no use of `shortcut`, `gate`, the scales and `shortcut_dropout`, and one of basic
    blocks none of `bottleneck_stride`.
    Raises BadInput for a depth that is not 6n + 2 (9n + 2 with bottlenecks), and for an unknown shortcut,
    order, gate or bottleneck_stride."""

    def __init__(
        self,
        depth: int,
        in_channels: int = 3,
        num_classes: int = 10,
        *,
        residual: bool,
        bottleneck: bool = False,
        width: int = 16,
        shortcut: str | None = None,
        norm: str = "batch",
        init: str = "he",
        activation: str = "relu",
        dropout: float = 0.0,
        order: str = "original",
        shortcut_scale: float = 1.0,
        branch_scale: float = 1.0,
        gate: str = "none",
        gate_bias: float = -6.0,
        shortcut_dropout: float = 0.0,
        bottleneck_stride: str = "1x1",
    ):
        super().__init__()
        n = (NINE_N_PLUS_2 if bottleneck else SIX_N_PLUS_2).n(depth)
        shortcut = shortcut or ("B" if bottleneck else "A")
        check_option("shortcut", shortcut, OPTIONS)
        check_option("order", order, ORDERS)
        check_option("gate", gate, GATES)
        check_option("bottleneck_stride", bottleneck_stride, STRIDED)
        self.order = ORDERS[order]
        bias = norm == "none"  # a norm's own shift makes it redundant
        make_convolutions = partial(narrowed, strided=bottleneck_stride) if bottleneck else basic
        make_block = partial(
            Block,
            order=self.order,
            residual=residual,
            shortcut=shortcut,
            norm=norm,
            activation=activation,
            dropout=dropout,
            shortcut_scale=shortcut_scale,
            branch_scale=branch_scale,
            gate=gate,
            shortcut_dropout=shortcut_dropout,
        )
        # torch draws default weights as it builds; keep them out of the generator, so that a projection
        # in the residual network does not shift what the other layers draw below.
        with torch.random.fork_rng(devices=[]):
            self.conv1 = convolution(3, in_channels, width, 1, bias)
            self.norm1 = make_norm(norm, width)
            self.activation = ACTIVATIONS[activation]
            self.stages = nn.ModuleList()
            c_in = width
            for stage, works_on in enumerate((width, 2 * width, 4 * width)):
                blocks = []
                for k in range(n):
                    stride = 2 if stage > 0 and k == 0 else 1
                    convolutions = make_convolutions(c_in, works_on, stride, bias)
                    blocks.append(make_block(convolutions, is_first=stage == k == 0))
                    c_in = convolutions[-1].out_channels
                self.stages.append(nn.Sequential(*blocks))
            self.norm_last = make_norm(norm if "N" in self.order.before else "none", c_in)
            self.fc = nn.Linear(c_in, num_classes)
        self.last_activation = first_activation(self.order, norm, activation)
        self.run_blocks = in_turn  # or checkpointing.Recomputed
        self.respond = in_parts  # or fusing.Fused
        shared = dict.fromkeys(layer.weighted for layer in self.weighted_layers())
        initialise(shared, init)
        of_shortcuts = [m for m in self.modules() if isinstance(m, nn.Conv2d) and m not in shared]
        initialise(of_shortcuts, init)
        for module in of_shortcuts:
            if isinstance(module, Gate):
                nn.init.constant_(module.bias, gate_bias)

    def forward(self, x: Tensor) -> Tensor:  # (B, in_channels, H, W)
        x = self.respond(self.norm1, self.activation, self.conv1(x))  # (B, width, H, W)
        x = self.run_blocks(self.blocks(), x)  # (B, C, H/4, W/4): H/2, W/2 from the second stage on
        x = follow(self.order.before, self.respond, self.norm_last, self.last_activation, x)
        return self.fc(x.mean((2, 3)))  # (B, num_classes)

    def blocks(self) -> list[nn.Module]:
        """The 3n blocks, input side first; each is called on the output of the one before."""
        return [block for stage in self.stages for block in stage]

    def weighted_layers(self) -> list[Layer]:
        """The 6n + 2 or 9n + 2 weighted layers, input side first; projections and gates are none."""
        first = Layer("conv1", "conv1", self.conv1, response_of(self.conv1, self.norm1))
        return [first, *layers_of(self.stages), Layer("fc", "fc", self.fc, self.fc)]
