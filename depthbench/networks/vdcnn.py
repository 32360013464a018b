"""Very deep convolutional networks for text, with and without shortcuts (Conneau et al. 2017,
arXiv:1606.01781).

Shapes: B batch, T tokens, C channels."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from depthbench.networks.checkpointing import in_turn
from depthbench.networks.components import Nonlinearity, initialise, make_nonlinearity, make_norm
from depthbench.networks.families.vdcnn import VDCNN_OPTIONS, vdcnn_blocks
from depthbench.networks.layers import Layer
from depthbench.networks.options import BuiltOptions, complete
from depthbench.networks.shortcuts import times
from depthbench.networks.stages import blocks_of

FILTERS = (1, 2, 4, 8)  # of each stage, in multiples of the width
EMBEDDING = 4  # the width divided by the numbers per token, 16 in the paper
KEPT = 8  # number of the largest values of each channel that reach the classifier
HIDDEN = 32  # units of a hidden fully connected layer, in multiples of the width


def largest(x: Tensor, count: int) -> Tensor:
    """Return the `count` largest values of each channel of x (B, C, T), in their order along T.

    This is the k-max pooling of Conneau et al. 2017 (sec. 3). Shorter sequences are filled up with zeros."""
    if x.shape[2] < count:
        return F.pad(x, (0, count - x.shape[2]))
    return x.gather(2, x.topk(count, 2).indices.sort(2).values)  # (B, C, count)


class TextBlock(nn.Module):
    """Two convolutions of three tokens with norm and activation: (B, C_in, T) -> (B, C, T).

    A residual block adds its input before the last activation, with zero channels where it is narrower. This
    shortcut has no parameters, so plain and residual blocks have the same parameters."""

    dropout = False  # it draws no random numbers (see checkpointing.py)

    def __init__(self, c_in: int, width: int, options: BuiltOptions, activation: Nonlinearity):
        super().__init__()
        bias = options.norm == "none"
        self.conv1 = nn.Conv1d(c_in, width, 3, padding=1, bias=bias)
        self.norm1 = make_norm(options.norm, width, nn.BatchNorm1d)
        self.conv2 = nn.Conv1d(width, width, 3, padding=1, bias=bias)
        self.norm2 = make_norm(options.norm, width, nn.BatchNorm1d)
        self.activation = activation
        self.residual, self.branch_scale = options.residual, options.branch_scale
        self.added = width - c_in

    def forward(self, x: Tensor) -> Tensor:
        y = self.activation.in_place(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        if self.residual:
            y = times(self.branch_scale, y) + self.shortcut(x)
        return self.activation.in_place(y)

    def shortcut(self, x: Tensor) -> Tensor:
        """Return x with zero channels on both sides where the block is wider."""
        return F.pad(x, (0, 0, self.added // 2, self.added - self.added // 2)) if self.added else x

    def branch_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the residual branch. A plain block has none."""
        return list(self.parameters()) if self.residual else []


class Halved(nn.Module):
    """A block that first halves the length of its input, by max pooling over three tokens with stride 2."""

    dropout = False

    def __init__(self, block: TextBlock):
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:  # (B, C_in, T)
        return self.block(F.max_pool1d(x, 3, 2, 1))  # (B, C, T/2)

    def branch_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the residual branch."""
        return self.block.branch_parameters()


class Vdcnn(nn.Module):
    """A convolutional network that classifies text: tokens (B, T) -> logits (B, num_classes).

    `in_channels` is the size of the vocabulary. The network has an embedding of `width` / 4 numbers per
    token, a convolution of three tokens, 4 stages of blocks with 1, 2, 4 and 8 times `width` filters, and
    three fully connected layers on the 8 largest values of each channel (Conneau et al. 2017, Figure 1). The
    length is halved before each stage except the first. The depth counts the convolutions, as in the paper.
    Where the paper projects a shortcut, this network fills it with zeros, so that after the same
    `torch.manual_seed` the plain and the residual network of one depth have the same weights.

    Raises BadInput for another depth than 9, 17, 29 and 49 and for an unknown value, and TypeError for an
    option that these networks do not take."""

    def __init__(
        self, depth: int, in_channels: int, num_classes: int = 10, *, residual: bool, **options: Any
    ):
        super().__init__()
        counts = vdcnn_blocks(depth)
        built = complete(VDCNN_OPTIONS, options, residual=residual, depth=depth, blocks=sum(counts))
        activation = make_nonlinearity(built)
        self.activation = activation
        self.embed = nn.Embedding(in_channels, max(1, built.width // EMBEDDING))
        self.conv1 = nn.Conv1d(self.embed.embedding_dim, built.width, 3, padding=1)
        self.stages = nn.ModuleList()
        c_in = built.width
        for stage, (filters, count) in enumerate(zip(FILTERS, counts, strict=True)):
            blocks = nn.Sequential()
            for k in range(count):
                block = TextBlock(c_in, filters * built.width, built, activation)
                blocks.append(Halved(block) if stage and k == 0 else block)
                c_in = filters * built.width
            self.stages.append(blocks)
        hidden = HIDDEN * built.width
        self.fc1, self.fc2 = nn.Linear(KEPT * c_in, hidden), nn.Linear(hidden, hidden)
        self.fc = nn.Linear(hidden, num_classes)
        self.run_blocks = in_turn  # or checkpointing.Recomputed
        initialise([layer.weighted for layer in self.weighted_layers()], built.init)

    def forward(self, x: Tensor) -> Tensor:  # (B, T)
        x = self.conv1(self.embed(x).transpose(1, 2))  # (B, width, T)
        x = self.run_blocks(self.blocks(), x)  # (B, 8 width, T/8)
        x = largest(x, KEPT).flatten(1)
        for hidden in (self.fc1, self.fc2):
            x = self.activation.in_place(hidden(x))
        return self.fc(x)

    def blocks(self) -> list[TextBlock | Halved]:
        """Return the blocks, input side first."""
        return [block for stage in blocks_of(self.stages) for block in stage]

    def weighted_layers(self) -> list[Layer]:
        """Return the convolutions and linear maps, input side first."""
        layers = [Layer("conv1", "conv1", self.conv1, self.conv1)]
        for s, stage in enumerate(blocks_of(self.stages)):
            for k, each in enumerate(stage):
                block = each.block if isinstance(each, Halved) else each
                name = f"stages.{s}.{k}" + ".block" * isinstance(each, Halved)
                layers.append(Layer(f"{name}.conv1", str(s + 1), block.conv1, block.norm1))
                layers.append(Layer(f"{name}.conv2", str(s + 1), block.conv2, block.norm2))
        hidden = [
            Layer(name, "fc", getattr(self, name), getattr(self, name)) for name in ("fc1", "fc2", "fc")
        ]
        return layers + hidden
