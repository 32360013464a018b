"""Stages of blocks between a first convolution and a classifier, as in CIFAR and ImageNet networks.

Shapes: B batch, C channels, H W pixels."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from depthbench.networks.blocks import Block, block_class, make_block
from depthbench.networks.checkpointing import in_turn
from depthbench.networks.components import initialise, make_nonlinearity, make_norm
from depthbench.networks.fusing import Respond, in_parts
from depthbench.networks.layers import Layer, response_of
from depthbench.networks.options import BuiltOptions, survival_of
from depthbench.networks.shortcuts import BranchScale, Gate


class StagedNet(nn.Module):
    """A first convolution, stages of blocks, global average pooling and a linear classifier.

    Stage k works on 2^k times the `width` of the first, which is that of the first convolution by default. A
    subclass makes this convolution, and its forward pass ends with `classify`.

    Norm and activation follow the first convolution in every order. The norm and activation that an order has
    before a block's first convolution also follow the last block (He et al. 2016, appendix), so that all
    orders have the same number of norms.

    The plain and the residual network of one depth have, after the same `torch.manual_seed`, the same initial
    weights in every layer, whatever the shortcut, gate and order."""

    def __init__(
        self,
        conv1: nn.Conv2d,
        blocks_per_stage: Sequence[int],
        num_classes: int,
        options: BuiltOptions,
        *,
        width: int | None = None,
    ):
        super().__init__()
        c_in = conv1.out_channels
        self.conv1 = conv1
        self.norm1 = make_norm(options.norm, c_in)
        nonlinearity = make_nonlinearity(options)
        self.activation = nonlinearity.in_place
        self.stages = self.make_stages(c_in, blocks_per_stage, options, width=width or c_in)
        channels = self.blocks()[-1].convolutions[-1].out_channels
        head = block_class(options).head(options.norm, nonlinearity, channels)
        self.norm_last, self.last_activation = head
        self.fc = nn.Linear(channels, num_classes)
        self.run_blocks = in_turn  # or checkpointing.Recomputed
        self.respond: Respond = in_parts  # or fusing.Fused

    def make_stages(
        self, c_in: int, blocks_per_stage: Sequence[int], options: BuiltOptions, *, width: int
    ) -> nn.ModuleList:
        """Return stages that work on `width`, 2 `width`, 4 `width`, ... channels, given `c_in` channels.

        Each stage but the first halves the map."""
        stages, index = nn.ModuleList(), 0
        for s, count in enumerate(blocks_per_stage):
            blocks: list[Block] = []
            for b in range(count):
                stride = 2 if s > 0 and b == 0 else 1
                survival = survival_of(options, index, sum(blocks_per_stage))
                own = options.model_copy(update={"survival": survival})
                block = self.make_block(c_in, 2**s * width, stride, own, is_first=index == 0)
                index += 1
                c_in = block.convolutions[-1].out_channels
                blocks.append(block)
            stages.append(nn.Sequential(*blocks))
        return stages

    @staticmethod
    def make_block(c_in: int, width: int, stride: int, options: BuiltOptions, *, is_first: bool) -> Block:
        """Return a block that works on `width` channels. is_first: whether it is the first of its network."""
        return make_block(c_in, width, stride, options, is_first=is_first)

    def initialise(self, init: str) -> None:
        """Draw all weights: first those that twins share, then those of shortcuts."""
        shared = dict.fromkeys(layer.weighted for layer in self.weighted_layers())
        initialise(shared, init)
        initialise([m for m in self.modules() if isinstance(m, nn.Conv2d) and m not in shared], init)
        for module in self.modules():
            if isinstance(module, Gate):
                nn.init.constant_(module.bias, module.initial_bias)
            elif isinstance(module, BranchScale):
                module.set_initial(len(self.blocks()))

    def classify(self, x: Tensor) -> Tensor:
        """Return the logits (B, num_classes) of x (B, C, H, W), the input of the first stage."""
        x = self.run_blocks(self.blocks(), x)
        x = self.respond(self.norm_last, self.last_activation, x)  # (B, C, H, W)
        return self.fc(x.mean((2, 3)))

    def blocks(self) -> list[Block]:
        """Return all blocks, input side first. Each is called on the output of the one before."""
        return [block for stage in self.blocks_of_stages() for block in stage]

    def blocks_of_stages(self) -> Iterable[Iterable[Block]]:
        """Return the blocks of each stage."""
        return cast("Iterable[Iterable[Block]]", self.stages)

    def weighted_layers(self) -> list[Layer]:
        """Return the `depth` weighted layers, input side first, without projections and gates."""
        layers = [Layer("conv1", "conv1", self.conv1, response_of(self.conv1, self.norm1))]
        return [*layers, *layers_of(self.blocks_of_stages()), Layer("fc", "fc", self.fc, self.fc)]


class HasConvolutions(Protocol):
    """A block whose convolutions are its attributes conv1, conv2, ..."""

    convolutions: tuple[nn.Conv2d, ...]

    def responses(self) -> Sequence[nn.Module]:
        """Return the module with the response of each convolution as its output."""


def layers_of(stages: Iterable[Iterable[HasConvolutions]]) -> list[Layer]:
    """Return the convolutions in the blocks of the stages of a network, input side first."""
    return [
        Layer(f"stages.{s}.{b}.conv{k}", str(s + 1), conv, response)
        for s, stage in enumerate(stages)
        for b, block in enumerate(stage)
        for k, (conv, response) in enumerate(zip(block.convolutions, block.responses(), strict=True), 1)
    ]


def blocks_of(stages: nn.ModuleList) -> list[list[Any]]:
    """Return the blocks of each stage, which is an nn.Sequential of them."""
    return [list(cast("nn.Sequential", stage)) for stage in stages]


def generator_untouched() -> AbstractContextManager[None]:
    """Return a context in which default weights leave torch's global generator unchanged.

    Otherwise a projection in the residual network would change the weights that other layers draw later."""
    return torch.random.fork_rng(devices=[])
