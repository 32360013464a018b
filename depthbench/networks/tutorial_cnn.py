"""The small convolutional network of CIFAR tutorials, and the same network with shortcuts.

Tutorials extend the example of Keras (cifar10_cnn.py, 2015) by a third stage, and some present the network as
residual. It has no shortcut. Shapes: B batch, C channels, H W pixels."""

from typing import Any

from torch import Tensor, nn

from depthbench.networks.blocks import Original, add_shortcut, convolution
from depthbench.networks.checkpointing import in_turn
from depthbench.networks.components import drop_input, halve, initialise, make_nonlinearity, to_side
from depthbench.networks.families.tutorial_cnn import SIX_N_PLUS_3, TUTORIAL_OPTIONS
from depthbench.networks.layers import Layer
from depthbench.networks.options import BuiltOptions, complete, survival_of
from depthbench.networks.shortcuts import BranchScale
from depthbench.networks.stages import blocks_of, generator_untouched

STAGES = 3
MAP_SIDE = 4  # of the map that the dense layer is given, in pixels: what three poolings leave of 32x32
HIDDEN = 16  # units of the dense layer, in multiples of the width


class TutorialBlock(Original):
    """Two or three 3x3 convolutions, each with an activation, and 2x2 max pooling if it ends its stage.

    In the residual network, the shortcut is added before the last activation, which precedes the pooling."""

    def __init__(self, convolutions: list[nn.Conv2d], options: BuiltOptions, *, ends_stage: bool):
        super().__init__(convolutions, options.norm, make_nonlinearity(options), is_first=False)
        self.ends_stage = ends_stage
        for conv in convolutions[1:]:
            drop_input(conv, options.dropout)
        self.dropout = options.dropout > 0
        if options.residual:
            add_shortcut(self, options)

    def forward(self, x: Tensor) -> Tensor:  # (B, C_in, H, W)
        x = super().forward(x)
        return halve(x) if self.ends_stage else x


class TutorialCnn(nn.Module):
    """The network of tutorials: (B, in_channels, H, W) -> logits (B, num_classes).

    It is 3 stages of 3x3 convolutions without norm with `width`, 2 and 4 times `width` filters, each followed
    by 2x2 max pooling, a dense layer of 16 `width` units and a linear classifier. Depth 9 has 2, 2 and 3
    convolutions; depth 6n + 3 has n blocks of two convolutions per stage, and a third one in the last block.
    32x32 pixels leave the 4x4 that the dense layer is made for. Other maps are averaged to, or repeated in,
    4x4 pixels.

    residual: add a shortcut around each block. After the same `torch.manual_seed`, both networks have the
    same initial weights. Raises BadInput for a depth that is not 6n + 3 and for an unknown value, and
    TypeError for an option that these networks do not take."""

    def __init__(
        self, depth: int, in_channels: int = 3, num_classes: int = 10, *, residual: bool, **options: Any
    ):
        super().__init__()
        n = SIX_N_PLUS_3.n(depth)
        built = complete(TUTORIAL_OPTIONS, options, residual=residual, depth=depth, blocks=STAGES * n)
        with generator_untouched():
            self.stages = nn.ModuleList()
            c_in = in_channels
            for s in range(STAGES):
                stage, c_out = nn.Sequential(), 2**s * built.width
                for b in range(n):
                    is_last = b == n - 1
                    count = 3 if is_last and s == STAGES - 1 else 2
                    widths = [c_in, *[c_out] * (count - 1)]
                    convolutions = [convolution(3, width, c_out, bias=True) for width in widths]
                    survival = survival_of(built, s * n + b, STAGES * n)
                    own = built.model_copy(update={"survival": survival})
                    stage.append(TutorialBlock(convolutions, own, ends_stage=is_last))
                    c_in = c_out
                self.stages.append(stage)
            self.dense = nn.Linear(c_in * MAP_SIDE**2, HIDDEN * built.width)
            self.fc = nn.Linear(HIDDEN * built.width, num_classes)
        self.activation = self.blocks()[-1].activation
        self.run_blocks = in_turn  # or checkpointing.Recomputed
        self.initialise(built.init)

    def initialise(self, init: str) -> None:
        """Draw all weights: first those that twins share, then those of projections."""
        shared = [layer.weighted for layer in self.weighted_layers()]
        initialise(shared, init)
        initialise([m for m in self.modules() if isinstance(m, nn.Conv2d) and m not in shared], init)
        for module in self.modules():
            if isinstance(module, BranchScale):
                module.set_initial(len(self.blocks()))

    def forward(self, x: Tensor) -> Tensor:  # (B, in_channels, H, W)
        x = self.run_blocks(self.blocks(), x)  # (B, 4 width, H/8, W/8)
        x = to_side(x, MAP_SIDE).flatten(1)
        return self.fc(self.activation(self.dense(x)))

    def blocks(self) -> list[TutorialBlock]:
        """Return all blocks, input side first."""
        return [block for stage in blocks_of(self.stages) for block in stage]

    def weighted_layers(self) -> list[Layer]:
        """Return the `depth` weighted layers, input side first, without projections."""
        layers = [
            Layer(f"stages.{s}.{b}.conv{k}", str(s + 1), conv, conv)
            for s, stage in enumerate(blocks_of(self.stages))
            for b, block in enumerate(stage)
            for k, conv in enumerate(block.convolutions, 1)
        ]
        dense = Layer("dense", "dense", self.dense, self.dense)
        return [*layers, dense, Layer("fc", "fc", self.fc, self.fc)]
