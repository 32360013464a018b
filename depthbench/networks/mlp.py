"""Fully connected networks, the ones that theory of gradients at initialisation is about, and their residual
twins in the order of He et al. 2016 (arXiv:1603.05027, sec. 4): norm, activation, map.

Depth is 2n + 2 weighted layers. Shapes: B batch, C channels, H W pixels, F units."""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from depthbench.networks import TWO_N_PLUS_2
from depthbench.networks.checkpointing import in_turn
from depthbench.networks.components import OUT_OF_PLACE, initialise, make_norm
from depthbench.networks.layers import Layer, response_of


def norm_of_units(name: str, units: int) -> nn.Module:
    """As parts.make_norm, of (B, F)."""
    return nn.BatchNorm1d(units) if name == "batch" else make_norm(name, units)


class Block(nn.Module):
    """Norm, activation and linear map, twice; `residual` adds the result to the input, and changes nothing
    else."""

    def __init__(self, width, *, residual, norm, activation, dropout, branch_scale):
        super().__init__()
        bias = norm == "none"  # a norm's own shift makes it redundant
        self.norm1 = norm_of_units(norm, width)
        self.linear1 = nn.Linear(width, width, bias)
        self.norm2 = norm_of_units(norm, width)
        self.linear2 = nn.Linear(width, width, bias)
        self.activation = OUT_OF_PLACE[activation]  # what is activated is also what the shortcut carries
        self.dropout = dropout
        self.residual, self.branch_scale = residual, branch_scale

    def forward(self, x: Tensor) -> Tensor:  # (B, F)
        y = self.linear1(self.activation(self.norm1(x)))
        y = self.activation(self.norm2(y))
        if self.dropout:
            y = F.dropout(y, self.dropout, self.training)
        y = self.linear2(y)
        return x + self.branch_scale * y if self.residual else y  # (B, F)


class Mlp(nn.Module):
    """A linear map to `width` units, n blocks of two maps each, norm and activation, and a linear classifier:
    images (B, C, H, W) -> logits (B, num_classes).

    `in_channels` is the pixels of an image, C H W: each is a channel of its own. Without residual connections
    it is the textbook's chain of map, norm, activation. `branch_scale` multiplies what a residual block adds
    to its input; a plain block adds nothing, and has no use for it. The plain network and the residual one of
    the same depth and options have, after the same `torch.manual_seed`, the same initial weights.
    Raises BadInput for a depth that is not 2n + 2."""

    def __init__(
        self,
        depth: int,
        in_channels: int,
        num_classes: int = 10,
        *,
        residual: bool,
        width: int = 256,
        norm: str = "batch",
        init: str = "he",
        activation: str = "relu",
        dropout: float = 0.0,
        branch_scale: float = 1.0,
    ):
        super().__init__()
        options = {
            "residual": residual,
            "norm": norm,
            "activation": activation,
            "dropout": dropout,
            "branch_scale": branch_scale,
        }
        self.residual = residual
        self.input = nn.Linear(in_channels, width, bias=norm == "none")
        self.hidden = nn.Sequential(*(Block(width, **options) for _ in range(TWO_N_PLUS_2.n(depth))))
        self.norm = norm_of_units(norm, width)
        self.activation = OUT_OF_PLACE[activation]
        self.fc = nn.Linear(width, num_classes)
        self.run_blocks = in_turn  # or checkpointing.Recomputed
        initialise([layer.weighted for layer in self.weighted_layers()], init)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        x = self.input(x.flatten(1))  # (B, F)
        x = self.run_blocks(self.blocks(), x)
        return self.fc(self.activation(self.norm(x)))  # (B, num_classes)

    def blocks(self) -> list[nn.Module]:
        """The n blocks, input side first; each is called on the output of the one before."""
        return list(self.hidden)

    def weighted_layers(self) -> list[Layer]:
        """The 2n + 2 weighted layers, input side first. Of a residual block's second map no norm follows
        before the addition: its response is its own output."""
        norms_after = [*(block.norm1 for block in self.blocks()), self.norm]
        layers = [Layer("input", "input", self.input, response_of(self.input, norms_after[0]))]
        for b, (block, (_, after)) in enumerate(zip(self.blocks(), pairwise(norms_after), strict=True)):
            first, second = block.linear1, block.linear2
            response = second if self.residual else response_of(second, after)
            layers.append(Layer(f"hidden.{b}.linear1", "1", first, response_of(first, block.norm2)))
            layers.append(Layer(f"hidden.{b}.linear2", "1", second, response))
        return [*layers, Layer("fc", "fc", self.fc, self.fc)]
