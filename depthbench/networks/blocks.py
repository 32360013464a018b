"""The blocks of the CIFAR and ImageNet networks, each written as its equation (He et al. 2015,
arXiv:1512.03385, Fig. 5; He et al. 2016, arXiv:1603.05027, Fig. 2 and 4).

`respond(norm, activation, z, shortcut)` returns the activation of norm(z) + shortcut (fusing.py). The two
blocks of the 2015 paper come first, then the other orders of normalisation and activation. Scales, gates and
dropout of the sum are in shortcuts.py. Shapes: B batch, C channels, H W pixels."""

from collections.abc import Sequence
from math import prod

from torch import Tensor, nn

from depthbench.networks.components import (
    Activation,
    Nonlinearity,
    drop_input,
    identity,
    make_nonlinearity,
    make_norm,
)
from depthbench.networks.fusing import Respond, in_parts
from depthbench.networks.layers import response_of
from depthbench.networks.options import BuiltOptions
from depthbench.networks.shortcuts import (
    Addition,
    ExclusiveAddition,
    Gate,
    GatedAddition,
    NoAddition,
    ScaledAddition,
    SqueezeAndExcitation,
    StochasticDepth,
    make_scale,
    make_shortcut,
)
from depthbench.networks.small_maps import convolution_3x3

PAPER_WIDTH = 64  # the `width` for which ResNeXt names its base width (Xie et al. 2017, Table 1)
EXPANSION = 4  # a bottleneck returns this many times the channels that it works on


class Block(nn.Module):
    """The convolutions and norms of a block: conv1, norm1, conv2, norm2, ...

    (B, C_in, H, W) -> (B, C_out, H/stride, W/stride). A subclass is one order of normalisation, activation
    and addition. `add(y, x)` returns the sum of the branch y and the shortcut of the block's input x. In a
    plain network it returns y."""

    norm_ends_branch = True  # whether the last norm directly follows the last convolution
    conv1: nn.Conv2d
    conv2: nn.Conv2d
    norm1: nn.Module
    norm2: nn.Module

    def __init__(
        self, convolutions: Sequence[nn.Conv2d], norm: str, activation: Nonlinearity, *, is_first: bool
    ):
        super().__init__()
        self.convolutions = tuple(convolutions)
        self.norms = tuple(self.make_norms(convolutions, norm, is_first=is_first))
        for k, (conv, own_norm) in enumerate(zip(self.convolutions, self.norms, strict=True), 1):
            self.add_module(f"conv{k}", conv)
            self.add_module(f"norm{k}", own_norm)
        self.activation = activation.in_place
        self.respond: Respond = in_parts  # or fusing.Fused
        self.add: NoAddition = NoAddition()
        self.projects = False  # whether the shortcut changes its input
        self.dropout = False  # whether the block draws random numbers (see checkpointing.py)

    @staticmethod
    def make_norms(convolutions: Sequence[nn.Conv2d], norm: str, *, is_first: bool) -> list[nn.Module]:
        """Return one norm for each convolution."""
        return [make_norm(norm, conv.out_channels) for conv in convolutions]

    @staticmethod
    def head(norm: str, activation: Nonlinearity, channels: int) -> tuple[nn.Module, Activation]:
        """Return the norm and the activation before a block's first convolution, and after the last block."""
        return nn.Identity(), identity

    def inner_norms(self) -> tuple[nn.Module, ...]:
        """Return the norms between the convolutions."""
        return self.norms[:-1]

    def outside_branch(self) -> list[nn.Module]:
        """Return the modules of the block that are not in its residual branch."""
        return [module for name, module in self.named_children() if name in ("shortcut", "gate")]

    def branch_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the residual branch. A plain block has none."""
        if isinstance(self.add, Addition):
            outside = {id(p) for module in self.outside_branch() for p in module.parameters()}
            return [p for p in self.parameters() if id(p) not in outside]
        return []

    def convolve(self, y: Tensor) -> Tensor:
        """Apply all convolutions, with norm and activation between them."""
        *inner, last = self.convolutions
        for conv, norm in zip(inner, self.inner_norms(), strict=True):
            y = self.respond(norm, self.activation, conv(y))
        return last(y)

    def responses(self) -> list[nn.Module]:
        """Return the module with the response of each convolution as its output.

        This is the norm that directly follows the convolution, or else the convolution itself."""
        last = self.norms[-1] if self.norm_ends_branch else self.convolutions[-1]
        pairs = zip(self.convolutions, [*self.inner_norms(), last], strict=True)
        return [response_of(conv, norm) for conv, norm in pairs]


class BasicBlock(Block):
    """Two 3x3 convolutions and the shortcut (He et al. 2015, Fig. 5, left)."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.respond(self.norm1, self.activation, self.conv1(x))
        return self.respond(self.norm2, self.activation, self.conv2(y), self.add.carried(x))


class Bottleneck(Block):
    """1x1, 3x3 and 1x1 convolutions and the shortcut (He et al. 2015, Fig. 5, right)."""

    conv3: nn.Conv2d
    norm3: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        y = self.respond(self.norm1, self.activation, self.conv1(x))
        y = self.respond(self.norm2, self.activation, self.conv2(y))
        return self.respond(self.norm3, self.activation, self.conv3(y), self.add.carried(x))


class Original(Block):
    """The order of the 2015 paper, for a branch that is scaled or gated before the addition."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.norms[-1](self.convolve(x))
        return self.activation(self.add(y, x))


class NormAfterAddition(Block):
    """Normalisation after the addition (He et al. 2016, Fig. 4b)."""

    norm_ends_branch = False

    def outside_branch(self) -> list[nn.Module]:
        return [*super().outside_branch(), self.norms[-1]]

    def forward(self, x: Tensor) -> Tensor:
        y = self.convolve(x)
        return self.respond(self.norms[-1], self.activation, self.add(y, x))


class ActBeforeAddition(Block):
    """Activation before the addition (He et al. 2016, Fig. 4c)."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.respond(self.norms[-1], self.activation, self.convolve(x))
        return self.add(y, x)


class PreActivated(Block):
    """Activation before the first convolution (He et al. 2016, appendix).

    The first block has none there, because its input is already activated.

    Where the block changes the shape, or the shortcut projects, the shortcut takes the activated input too.
    The appendix describes this for projections. The published code (github.com/KaimingHe/resnet-1k-layers)
    does it in all blocks that change the width."""

    def __init__(
        self, convolutions: Sequence[nn.Conv2d], norm: str, activation: Nonlinearity, *, is_first: bool
    ):
        super().__init__(convolutions, norm, activation, is_first=is_first)
        _, first_activation = self.head(norm, activation, convolutions[0].in_channels)
        self.first_activation = identity if is_first else first_activation


class ActOnlyPre(PreActivated):
    """Activation before each convolution, normalisation after it (He et al. 2016, Fig. 4d)."""

    @staticmethod
    def head(norm: str, activation: Nonlinearity, channels: int) -> tuple[nn.Module, Activation]:
        return nn.Identity(), activation.out_of_place  # the shortcut carries the input

    def forward(self, x: Tensor) -> Tensor:
        y = self.first_activation(x)
        return self.add(self.norms[-1](self.convolve(y)), y if self.projects else x)


class FullPre(PreActivated):
    """Normalisation and activation before each convolution (He et al. 2016, Fig. 4e)."""

    norm_ends_branch = False

    @staticmethod
    def make_norms(convolutions: Sequence[nn.Conv2d], norm: str, *, is_first: bool) -> list[nn.Module]:
        norms = [make_norm(norm, conv.in_channels) for conv in convolutions]
        return [nn.Identity(), *norms[1:]] if is_first else norms  # its input is already normalised

    @staticmethod
    def head(norm: str, activation: Nonlinearity, channels: int) -> tuple[nn.Module, Activation]:
        in_place = norm != "none"  # the norm's output is a tensor of its own
        return make_norm(norm, channels), activation.in_place if in_place else activation.out_of_place

    def inner_norms(self) -> tuple[nn.Module, ...]:
        return self.norms[1:]

    def forward(self, x: Tensor) -> Tensor:
        y = self.respond(self.norm1, self.first_activation, x)
        return self.add(self.convolve(y), y if self.projects else x)


ORDERS: dict[str, type[Block]] = {
    "original": Original,
    "norm_after_addition": NormAfterAddition,
    "act_before_addition": ActBeforeAddition,
    "act_only_pre": ActOnlyPre,
    "full_pre": FullPre,
}


def block_class(options: BuiltOptions) -> type[Block]:
    """Return the class of the blocks of a network."""
    weighs_branch = options.branch_scale != 1 or options.gate == "exclusive"
    weighs_branch |= options.learned_scale != "none"
    weighs_branch |= options.reduction is not None or options.survival < 1
    if options.order == "original" and not (options.residual and weighs_branch):
        return Bottleneck if options.bottleneck else BasicBlock
    return ORDERS[options.order]


def make_block(c_in: int, width: int, stride: int, options: BuiltOptions, *, is_first: bool) -> Block:
    """Return a block that works on `width` channels. is_first: whether it is the first of its network."""
    if options.bottleneck:
        convolutions = bottleneck_convolutions(c_in, width, stride, options)
    else:
        convolutions = basic_convolutions(c_in, width, stride, options)
    nonlinearity = make_nonlinearity(options)
    block = block_class(options)(convolutions, options.norm, nonlinearity, is_first=is_first)
    for conv in convolutions[1:]:
        drop_input(conv, options.dropout)
    block.dropout = options.dropout > 0
    if options.residual:
        add_shortcut(block, options)
    return block


def convolution(
    size: int, c_in: int, c_out: int, stride: int = 1, *, bias: bool, groups: int = 1
) -> nn.Conv2d:
    """Return a convolution that keeps the size of the map, or divides it by `stride`."""
    if (size, stride, groups) == (3, 1, 1):
        return convolution_3x3(c_in, c_out, bias)
    return nn.Conv2d(c_in, c_out, size, stride, padding=size // 2, groups=groups, bias=bias)


def basic_convolutions(c_in: int, width: int, stride: int, options: BuiltOptions) -> list[nn.Conv2d]:
    """Return two 3x3 convolutions. The first one has the stride."""
    return [
        convolution(3, c_in, width, stride, bias=options.has_bias),
        convolution(3, width, width, bias=options.has_bias),
    ]


def bottleneck_convolutions(c_in: int, width: int, stride: int, options: BuiltOptions) -> list[nn.Conv2d]:
    """Return a 1x1 convolution to `width` channels, a 3x3 one, and a 1x1 one to EXPANSION * `width`.

    In a wide network, the first two return `widen` times as many channels. With groups (ResNeXt), the first
    one returns `width / PAPER_WIDTH * base_width` channels per group."""
    first, second = (stride, 1) if options.bottleneck_stride == "1x1" else (1, stride)
    inner, groups = width * (options.widen or 1), options.cardinality or 1
    if options.base_width is not None:
        inner = max(1, width * options.base_width // PAPER_WIDTH) * groups
    return [
        convolution(1, c_in, inner, first, bias=options.has_bias),
        convolution(3, inner, inner, second, bias=options.has_bias, groups=groups),
        convolution(1, inner, EXPANSION * width, bias=options.has_bias),
    ]


def add_shortcut(block: Block, options: BuiltOptions) -> None:
    """Make `block` residual."""
    c_in, c_out = block.convolutions[0].in_channels, block.convolutions[-1].out_channels
    stride = prod(conv.stride[0] for conv in block.convolutions)
    # a projection ends with a norm if and only if the branch does
    own_norm = options.norm if block.norm_ends_branch else "none"
    block.shortcut = make_shortcut(
        options.shortcut, c_in, c_out, stride, own_norm=own_norm, bias=options.has_bias
    )
    block.projects = options.shortcut == "C" or stride > 1 or c_in != c_out
    block.dropout |= options.shortcut_dropout > 0 or options.survival < 1
    block.branch_end = branch_end(c_out, options)
    scales = {
        "branch_scale": options.branch_scale,
        "shortcut_scale": options.shortcut_scale,
        "dropout": options.shortcut_dropout,
    }
    if options.gate != "none":
        block.gate = Gate(c_in, c_out, stride, options.gate_bias)
        kind = ExclusiveAddition if options.gate == "exclusive" else GatedAddition
        block.add = kind(block.shortcut, block.branch_end, gate=block.gate, **scales)
    elif scales == {"branch_scale": 1, "shortcut_scale": 1, "dropout": 0} and not len(block.branch_end):
        block.add = Addition(block.shortcut)
    else:
        block.add = ScaledAddition(block.shortcut, block.branch_end, **scales)


def branch_end(channels: int, options: BuiltOptions) -> nn.Sequential:
    """Return the modules that end the branch of a block, before the addition."""
    end = nn.Sequential()
    if options.reduction is not None:
        end.append(SqueezeAndExcitation(channels, options.reduction))
    if options.learned_scale != "none":
        end.append(make_scale(options.learned_scale, channels, 1, 1))
    if options.survival < 1:
        end.append(StochasticDepth(options.survival))
    return end
