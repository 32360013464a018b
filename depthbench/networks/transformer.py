"""Transformers for images and their plain twins (Vaswani et al. 2017, arXiv:1706.03762; Dosovitskiy et al.
2021, arXiv:2010.11929).

Depth is the number of blocks. Shapes: B batch, C channels, H W pixels, T tokens, E numbers per token."""

from typing import Any

from torch import Tensor, nn

from depthbench.errors import BadInput
from depthbench.networks.checkpointing import in_turn
from depthbench.networks.components import initialise
from depthbench.networks.encoder import Block, Encoder
from depthbench.networks.families.transformer import TRANSFORMER, TRANSFORMER_OPTIONS, problem_of_heads
from depthbench.networks.layers import Layer
from depthbench.networks.options import complete
from depthbench.networks.patches import Patches
from depthbench.networks.shortcuts import BranchScale


class ImageTransformer(nn.Module):
    """A transformer that classifies images: (B, in_channels, H, W) -> logits (B, num_classes).

    It is patches.Patches, `depth` blocks (encoder.Encoder), the mean over all tokens and a linear classifier.
    There is no class token. It would be the same for all images at the input, so that the classifier would
    depend on the attention of a single token. With the mean, all tokens have the same role in both twins.

    `options` are those of NetworkOptions that transformers take. An unset one has its default. A plain
    network ignores the options of branches. After the same `torch.manual_seed`, the plain and the residual
    network of one depth have the same initial weights. Raises BadInput for an unknown value and for heads
    that do not divide the width, and TypeError for an option that transformers do not take. The forward pass
    raises BadInput for images that the patches do not fill."""

    def __init__(
        self, depth: int, in_channels: int = 3, num_classes: int = 10, *, residual: bool, **options: Any
    ):
        super().__init__()
        TRANSFORMER.depths.n(depth)
        built = complete(TRANSFORMER_OPTIONS, options, residual=residual, depth=depth, blocks=depth)
        if problem := problem_of_heads(built.width, built.heads):
            raise BadInput(problem)
        self.patches = Patches(in_channels, built.patch, built.width, dropout=built.dropout)
        self.encoder = Encoder(built, depth)
        self.fc = nn.Linear(built.width, num_classes)
        self.run_blocks = in_turn  # or checkpointing.Recomputed
        initialise([layer.weighted for layer in self.weighted_layers()], built.init)
        if built.placement == "deepnorm":
            self.encoder.scale_down()
        for module in self.modules():
            if isinstance(module, BranchScale):
                module.set_initial(depth)

    def forward(self, x: Tensor) -> Tensor:  # (B, in_channels, H, W)
        x = self.encoder(self.patches(x), self.run_blocks)  # (B, T, E)
        return self.fc(x.mean(1))  # (B, num_classes)

    def blocks(self) -> list[Block]:
        """Return the blocks, input side first. Each is called on the output of the one before."""
        return self.encoder.list_blocks()

    def weighted_layers(self) -> list[Layer]:
        """Return the linear maps, input side first: of the patches, six in each block, the classifier."""
        return [
            *self.patches.weighted_layers("patches"),
            *self.encoder.weighted_layers("encoder"),
            Layer("fc", "fc", self.fc, self.fc),
        ]
