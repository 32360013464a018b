"""Transformers for images and text, and their plain twins (Vaswani et al. 2017, arXiv:1706.03762; Dosovitskiy
et al. 2021, arXiv:2010.11929).

Depth is the number of blocks. Shapes: B batch, C channels, H W pixels, T tokens, E numbers per token."""

from collections.abc import Mapping
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
from depthbench.networks.tokens import TokenEmbedding


class Transformer(nn.Module):
    """The part that transformers for images and for text share: `depth` blocks (encoder.Encoder) between a
    front end, which makes tokens (B, T, E), and a linear classifier.

    `options` are those of NetworkOptions that transformers take. An unset one has its default. A plain
    network ignores the options of branches. After the same `torch.manual_seed`, the plain and the residual
    network of one depth have the same initial weights. Raises BadInput for an unknown value and for heads
    that do not divide the width, and TypeError for an option that transformers do not take."""

    def __init__(self, depth: int, options: Mapping[str, Any], *, residual: bool):
        super().__init__()
        TRANSFORMER.depths.n(depth)
        self.built = complete(TRANSFORMER_OPTIONS, options, residual=residual, depth=depth, blocks=depth)
        if problem := problem_of_heads(self.built.width, self.built.heads):
            raise BadInput(problem)
        self.depth = depth
        self.run_blocks = in_turn  # or checkpointing.Recomputed

    def _finish(self, num_classes: int, *, is_causal: bool = False) -> None:
        """Add the blocks and the classifier after the front end, and initialise all of them."""
        self.encoder = Encoder(self.built, self.depth, is_causal=is_causal)
        self.fc = nn.Linear(self.built.width, num_classes)
        initialise([layer.weighted for layer in self.weighted_layers()], self.built.init)
        if self.built.placement == "deepnorm":
            self.encoder.scale_down()
        for module in self.modules():
            if isinstance(module, BranchScale):
                module.set_initial(self.depth)

    def blocks(self) -> list[Block]:
        """Return the blocks, input side first. Each is called on the output of the one before."""
        return self.encoder.list_blocks()

    def weighted_layers(self) -> list[Layer]:
        """Return the linear maps, input side first: six in each block, and the classifier."""
        return [*self.encoder.weighted_layers("encoder"), Layer("fc", "fc", self.fc, self.fc)]


class ImageTransformer(Transformer):
    """A transformer that classifies images: (B, in_channels, H, W) -> logits (B, num_classes).

    It is patches.Patches, the blocks, the mean over all tokens and a linear classifier. There is no class
    token. It would be the same for all images at the input, so that the classifier would depend on the
    attention of a single token. With the mean, all tokens have the same role in both twins. The forward pass
    raises BadInput if the patches do not fill the images."""

    def __init__(
        self, depth: int, in_channels: int = 3, num_classes: int = 10, *, residual: bool, **options: Any
    ):
        super().__init__(depth, options, residual=residual)
        self.patches = Patches(in_channels, self.built.patch, self.built.width, dropout=self.built.dropout)
        self._finish(num_classes)

    def forward(self, x: Tensor) -> Tensor:  # (B, in_channels, H, W)
        x = self.encoder(self.patches(x), self.run_blocks)  # (B, T, E)
        return self.fc(x.mean(1))  # (B, num_classes)

    def weighted_layers(self) -> list[Layer]:
        """Return the linear maps, input side first: of the patches, six in each block, the classifier."""
        return [*self.patches.weighted_layers("patches"), *super().weighted_layers()]


class TextTransformer(Transformer):
    """A transformer that reads tokens (B, T), integers below `in_channels`.

    If `is_next`, each token sees itself and those before it, and the logits (B, T, num_classes) predict the
    token that follows it. Otherwise all tokens see each other, and the logits (B, num_classes) are those of
    their mean, as for images. Tokens that fill up short sequences count like all others. The embedding
    (tokens.TokenEmbedding) is not a weighted layer, because it multiplies nothing."""

    def __init__(
        self, depth: int, in_channels: int, num_classes: int, *, is_next: bool, residual: bool, **options: Any
    ):
        super().__init__(depth, options, residual=residual)
        self.is_next = is_next
        self.tokens = TokenEmbedding(in_channels, self.built.width, dropout=self.built.dropout)
        self._finish(num_classes, is_causal=is_next)

    def forward(self, x: Tensor) -> Tensor:  # (B, T)
        x = self.encoder(self.tokens(x), self.run_blocks)  # (B, T, E)
        return self.fc(x if self.is_next else x.mean(1))


def make_transformer(
    depth: int,
    in_channels: int = 3,
    num_classes: int = 10,
    *,
    residual: bool,
    is_next: bool | None = None,
    **options: Any,
) -> Transformer:
    """Return a transformer for images or, if `is_next` is given, for tokens (see TextTransformer)."""
    if is_next is None:
        return ImageTransformer(depth, in_channels, num_classes, residual=residual, **options)
    return TextTransformer(depth, in_channels, num_classes, is_next=is_next, residual=residual, **options)
