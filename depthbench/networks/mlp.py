"""Fully connected networks, for which the theory of gradients at initialisation is exact, and their residual
twins in the order of He et al. 2016 (arXiv:1603.05027, sec. 4): norm, activation, map.

Depth is 2n + 2 weighted layers. Shapes: B batch, C channels, H W pixels, F units."""

from itertools import pairwise
from typing import Any, cast

from torch import Tensor, nn

from depthbench.networks.checkpointing import in_turn
from depthbench.networks.components import drop_input, initialise, make_nonlinearity, make_norm
from depthbench.networks.families.mlp import MLP_OPTIONS, TWO_N_PLUS_2
from depthbench.networks.layers import Layer, response_of
from depthbench.networks.options import BuiltOptions, complete, survival_of
from depthbench.networks.shortcuts import BranchScale, StochasticDepth, make_scale


def make_unit_norm(name: str, units: int) -> nn.Module:
    """Return a normalisation of (B, F); see components.make_norm."""
    return nn.BatchNorm1d(units) if name == "batch" else make_norm(name, units)


class PlainBlock(nn.Module):
    """Norm, activation and linear map, twice."""

    def __init__(self, options: BuiltOptions, survival: float = 1.0):
        super().__init__()
        width, norm, bias = options.width, options.norm, options.has_bias
        self.norm1 = make_unit_norm(norm, width)
        self.linear1 = nn.Linear(width, width, bias)
        self.norm2 = make_unit_norm(norm, width)
        self.linear2 = nn.Linear(width, width, bias)
        self.activation = make_nonlinearity(options).out_of_place  # a shortcut carries its input
        self.dropout = options.dropout > 0  # whether the block draws random numbers (see checkpointing.py)
        drop_input(self.linear2, options.dropout)

    def branch_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the residual branch."""
        return []

    def forward(self, x: Tensor) -> Tensor:  # (B, F)
        y = self.linear1(self.activation(self.norm1(x)))
        return self.linear2(self.activation(self.norm2(y)))  # (B, F)


class ResidualBlock(PlainBlock):
    """A plain block, scaled and added to its input."""

    def __init__(self, options: BuiltOptions, survival: float = 1.0):
        super().__init__(options)
        self.branch_scale = options.branch_scale
        self.branch_end = nn.Sequential()
        if options.learned_scale != "none":
            self.branch_end.append(make_scale(options.learned_scale, options.width))
        if survival < 1:
            self.branch_end.append(StochasticDepth(survival))
        self.dropout = options.dropout > 0 or survival < 1

    def branch_parameters(self) -> list[nn.Parameter]:
        return list(self.parameters())

    def forward(self, x: Tensor) -> Tensor:  # (B, F)
        return x + self.branch_scale * self.branch_end(super().forward(x))  # (B, F)


class Mlp(nn.Module):
    """A fully connected network: images (B, C, H, W) -> logits (B, num_classes).

    It is a linear map to `width` units, n blocks of two maps each, norm and activation, and a linear
    classifier.

    `in_channels` is C H W, because each pixel of each channel is an input. `options` are those of
    NetworkOptions that fully connected networks take. An unset one has its default.

    Without residual connections the network is the textbook's chain of map, norm, activation. `branch_scale`
    multiplies what a residual block adds to its input. A plain network ignores it. After the same
    `torch.manual_seed`, the plain and the residual network of one depth have the same initial weights. Raises
    BadInput for a depth that is not 2n + 2 and for an unknown value, and TypeError for an option that fully
    connected networks do not take."""

    def __init__(
        self,
        depth: int,
        in_channels: int,
        num_classes: int = 10,
        *,
        residual: bool,
        **options: Any,
    ):
        super().__init__()
        n = TWO_N_PLUS_2.n(depth)
        built = complete(MLP_OPTIONS, options, residual=residual, depth=depth, blocks=n)
        width, norm = built.width, built.norm
        block = ResidualBlock if residual else PlainBlock
        survivals = [survival_of(built, index, n) for index in range(n)]
        self.residual = residual
        self.input = nn.Linear(in_channels, width, bias=built.has_bias)
        self.hidden = nn.Sequential(*(block(built, survival) for survival in survivals))
        self.norm = make_unit_norm(norm, width)
        self.activation = make_nonlinearity(built).out_of_place
        self.fc = nn.Linear(width, num_classes)
        self.run_blocks = in_turn  # or checkpointing.Recomputed
        initialise([layer.weighted for layer in self.weighted_layers()], built.init)
        for module in self.modules():
            if isinstance(module, BranchScale):
                module.set_initial(len(self.blocks()))

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        x = self.input(x.flatten(1))  # (B, F)
        x = self.run_blocks(self.blocks(), x)
        return self.fc(self.activation(self.norm(x)))  # (B, num_classes)

    def blocks(self) -> list[PlainBlock]:
        """Return the n blocks, input side first. Each is called on the output of the one before."""
        return cast("list[PlainBlock]", list(self.hidden))

    def weighted_layers(self) -> list[Layer]:
        """Return the 2n + 2 weighted layers, input side first.

        In a residual block no norm follows the second map before the addition, so its response is its own
        output."""
        norms_after = [*(block.norm1 for block in self.blocks()), self.norm]
        layers = [Layer("input", "input", self.input, response_of(self.input, norms_after[0]))]
        for b, (block, (_, after)) in enumerate(zip(self.blocks(), pairwise(norms_after), strict=True)):
            first, second = block.linear1, block.linear2
            response = second if self.residual else response_of(second, after)
            layers.append(Layer(f"hidden.{b}.linear1", "1", first, response_of(first, block.norm2)))
            layers.append(Layer(f"hidden.{b}.linear2", "1", second, response))
        return [*layers, Layer("fc", "fc", self.fc, self.fc)]
