"""Fractal networks: ultra-deep networks without shortcuts (Larsson et al. 2017, arXiv:1605.07648).

Shapes: B batch, C channels, H W pixels."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthbench.networks.blocks import convolution
from depthbench.networks.checkpointing import in_turn
from depthbench.networks.components import initialise
from depthbench.networks.conv_layer import ConvLayer
from depthbench.networks.families.fractalnet import FRACTAL_BLOCKS, FRACTAL_DEPTHS, FRACTAL_OPTIONS
from depthbench.networks.fusing import Respond, in_parts
from depthbench.networks.layers import Layer
from depthbench.networks.options import BuiltOptions, complete
from depthbench.networks.stages import generator_untouched

WIDTHS = (1, 2, 4, 8, 8)  # of each block, relative to the first (64, 128, 256, 512, 512 in the paper)


def as_drawn(weights: Tensor) -> Tensor:
    """Return the weights of a process that trains alone."""
    return weights


class ColumnChoice(nn.Module):
    """The draw of one step for the whole network: whether all joins use one column, and which.

    `weights` (columns,) is 1 for the chosen column and 0 for the others, or 0 for all if each join drops
    inputs on its own. None in evaluation, and without drop-path. `agree` maps the weights that this process
    drew to those that count. Several processes that train together must all take those of one of them,
    because the running statistics change in all of them or in none."""

    def __init__(self, columns: int, drop_path: float):
        super().__init__()
        self.columns, self.drop_path = columns, drop_path
        self.weights: Tensor | None = None
        self.agree: Callable[[Tensor], Tensor] = as_drawn

    def draw(self, device: torch.device) -> None:
        """Draw for one training step, without waiting for the device."""
        self.weights = None
        if self.training and self.drop_path > 0:
            is_global = torch.rand((), device=device) < 0.5
            column = torch.rand(self.columns, device=device).argmax()
            self.weights = self.agree((torch.arange(self.columns, device=device) == column) * is_global)

    def restore(self, statistics: Sequence[Tensor], before: Sequence[Tensor]) -> None:
        """Reset running statistics to their values `before` the step if all its joins use one column."""
        if self.weights is None:
            return
        is_global = self.weights.any()
        for now, earlier in zip(statistics, before, strict=True):
            now.data.copy_(torch.where(is_global, earlier, now))  # hidden from autograd

    def of_join(self, first: int, device: torch.device) -> Tensor | None:
        """Return the weights (inputs,) of a join of the columns from `first` on; None to weigh all equally.

        They add up to 1. A join that the chosen column does not reach weighs all equally. No path to the
        output goes through it. Without a chosen column, an input is dropped at the probability `drop_path`,
        but never all of them."""
        if self.weights is None:
            return None
        chosen = self.weights[first:]
        draws = torch.rand(len(chosen), device=device)
        local = (draws >= self.drop_path) | (draws == draws.max())
        is_global = self.weights.any()
        kept = torch.where(is_global, chosen.bool() | ~chosen.any(), local).to(torch.float32)
        return kept / kept.sum()


class FractalBlock(nn.Module):
    """f_C(x) and 2x2 max pooling: (B, C_in, H, W) -> (B, C_out, H/2, W/2).

    f_1(x) = layer(x), and f_{C+1}(x) = join(f_C(f_C(x)), layer(x)), where the join is the mean. As a
    grid, column c = 0, ..., C - 1 has 2^c layers, each as long as 2^(C - 1 - c) layers of the last column.
    Where layers of several columns end at one row, they are joined, and the join is the input of the next
    layers of these columns."""

    def __init__(self, c_in: int, c_out: int, choice: ColumnChoice, options: BuiltOptions):
        super().__init__()
        self.columns = nn.ModuleList()
        for c in range(choice.columns):
            widths = [c_in] + [c_out] * (2**c - 1)
            convolutions = (convolution(3, width, c_out, bias=options.has_bias) for width in widths)
            self.columns.append(nn.Sequential(*(ConvLayer(conv, options) for conv in convolutions)))
        self.choice = choice
        self.dropout = choice.drop_path > 0  # whether it draws random numbers (see checkpointing.py)

    def forward(self, x: Tensor) -> Tensor:
        count = len(self.columns)
        inputs = [x] * count
        for row in range(1, 2 ** (count - 1) + 1):
            first = next(c for c in range(count) if row % 2 ** (count - 1 - c) == 0)
            ends = [
                self.layers_of(c)[row // 2 ** (count - 1 - c) - 1](inputs[c]) for c in range(first, count)
            ]
            joined = self.join(ends, first)
            inputs[first:] = [joined] * (count - first)
        return F.max_pool2d(inputs[0], 2, ceil_mode=True)  # so that a map of one pixel stays one

    def join(self, ends: Sequence[Tensor], first: int) -> Tensor:
        """Return the weighted mean of the outputs (B, C, H, W) of the columns from `first` on."""
        if len(ends) == 1:
            return ends[0]
        weights = self.choice.of_join(first, ends[0].device)
        if weights is None:
            return sum(ends[1:], ends[0]) / len(ends)
        parts = [end * weight.to(end.dtype) for end, weight in zip(ends, weights, strict=True)]
        return sum(parts[1:], parts[0])

    def layers_of(self, column: int) -> list[ConvLayer]:
        """Return the layers of a column, input side first."""
        return cast("list[ConvLayer]", list(cast("nn.Sequential", self.columns[column])))


class FractalNet(nn.Module):
    """A fractal network: (B, in_channels, H, W) -> logits (B, num_classes).

    It is 5 fractal blocks of C columns with `width`, 2, 4, 8 and 8 times `width` filters, each followed by
    2x2 max pooling, the mean over the pixels that are left (one of 32x32) and a linear classifier.

    Depth 5 * 2^(C - 1) counts the convolutions of the deepest column. With drop-path, a training step either
    uses one column everywhere or lets each join drop inputs. The paper's dropout between blocks is not
    included. Steps of one column do not change the running statistics of batch normalisation, because
    evaluation uses all columns, whose mean varies less than one of them.

    Raises BadInput for a depth that is not 5, 10, 20, ..., 160 and for an unknown value, and TypeError for an
    option that fractal networks do not take."""

    def __init__(self, depth: int, in_channels: int = 3, num_classes: int = 10, **options: Any):
        super().__init__()
        columns = FRACTAL_DEPTHS.n(depth)
        built = complete(FRACTAL_OPTIONS, options, residual=False)
        assert built.drop_path is not None  # FRACTAL has a value
        self.choice = ColumnChoice(columns, built.drop_path)
        with generator_untouched():
            self.stages = nn.ModuleList()
            c_in = in_channels
            for k in range(FRACTAL_BLOCKS):
                c_out = WIDTHS[k] * built.width
                self.stages.append(FractalBlock(c_in, c_out, self.choice, built))
                c_in = c_out
            self.fc = nn.Linear(c_in, num_classes)
        self.run_blocks = in_turn  # or checkpointing.Recomputed
        self.respond: Respond = in_parts  # the layers call their own
        shared = dict.fromkeys(layer.weighted for layer in self.weighted_layers())
        initialise(shared, built.init)
        others = [m for m in self.modules() if isinstance(m, nn.Conv2d) and m not in shared]
        initialise(others, built.init)

    def forward(self, x: Tensor) -> Tensor:  # (B, in_channels, H, W)
        self.choice.draw(x.device)
        is_drawn = self.choice.weights is not None
        statistics = [b for b in self.buffers() if b.is_floating_point()] if is_drawn else []
        before = [each.clone() for each in statistics]
        x = self.run_blocks(self.blocks(), x)  # (B, 8 width, H/32, W/32)
        self.choice.restore(statistics, before)
        return self.fc(x.mean((2, 3)))

    def blocks(self) -> list[FractalBlock]:
        """Return the 5 blocks, input side first."""
        return cast("list[FractalBlock]", list(self.stages))

    def weighted_layers(self) -> list[Layer]:
        """Return the layers of the deepest column, input side first, and the classifier."""
        layers = []
        for s, block in enumerate(self.blocks()):
            deepest = len(block.columns) - 1
            for k, layer in enumerate(block.layers_of(deepest)):
                layers.append(layer.as_layer(f"stages.{s}.columns.{deepest}.{k}", str(s + 1)))
        return [*layers, Layer("fc", "fc", self.fc, self.fc)]
