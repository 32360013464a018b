"""The blocks of a transformer: attention and MLP, with or without shortcuts.

Shapes: B batch, T tokens, E numbers per token (the width)."""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import ClassVar, cast

import torch.nn.functional as F
from torch import Tensor, nn

from depthbench.networks.attention import ScaledDotProduct
from depthbench.networks.checkpointing import in_turn
from depthbench.networks.components import drop_input, make_nonlinearity
from depthbench.networks.layers import Layer, Weighted
from depthbench.networks.options import BuiltOptions, survival_of
from depthbench.networks.shortcuts import StochasticDepth, make_scale, times


def make_token_norm(name: str, width: int) -> nn.Module:
    """Return a normalisation of each token (B, T, width): layer, rms or none."""
    kinds: dict[str, Callable[[int], nn.Module]] = {"layer": nn.LayerNorm, "rms": nn.RMSNorm}
    return kinds.get(name, nn.Identity)(width)


def deepnorm_scale(blocks: int) -> float:
    """Return alpha = (2 N)^(1/4), the factor of the shortcut (Wang et al. 2022, arXiv:2203.00555)."""
    return (2 * blocks) ** 0.25


def deepnorm_gain(blocks: int) -> float:
    """Return beta = (8 N)^(-1/4), the factor of initial weights (Wang et al. 2022)."""
    return (8 * blocks) ** -0.25


class BranchSum(nn.Module):
    """The sum of what a branch adds and what its shortcut carries. The probe `branch_share` looks for it."""

    def forward(self, branch: Tensor, carried: Tensor) -> Tensor:
        return branch + carried


class Shortcut(nn.Module):
    """The end of a residual branch y: b e(y) + a x.

    b is `branch_scale`, e a learned scale and stochastic depth, if there are any, and a the `shortcut_scale`
    of DeepNorm, otherwise 1."""

    def __init__(self, options: BuiltOptions, survival: float, blocks: int):
        super().__init__()
        self.branch_scale = options.branch_scale
        self.shortcut_scale = deepnorm_scale(blocks) if options.placement == "deepnorm" else 1.0
        self.end = nn.Sequential()
        if options.learned_scale != "none":
            self.end.append(make_scale(options.learned_scale, options.width))
        if survival < 1:
            self.end.append(StochasticDepth(survival))
        self.sum = BranchSum()

    def forward(self, y: Tensor, x: Tensor) -> Tensor:
        return self.sum(times(self.branch_scale, self.end(y)), times(self.shortcut_scale, x))


class NoShortcut(nn.Module):
    """The end of a branch y in a plain network: y itself."""

    def forward(self, y: Tensor, x: Tensor) -> Tensor:
        return y


class SubLayer(nn.Module):
    """Attention or MLP F with its norm LN and its shortcut: (B, T, E) -> (B, T, E).

    The placements pre and lns compute x + F(LN(x)), where lns divides LN(x) by the square root of `index`,
    the number of the block from 1 (Sun et al. 2025, arXiv:2502.05795, sec. 4). post and deepnorm compute
    LN(x + F(x)), where deepnorm scales x. A plain network has no x in the sum."""

    scaled_down: ClassVar[tuple[str, ...]] = ()
    """The maps whose initial weights DeepNorm multiplies by `deepnorm_gain`."""

    def __init__(self, options: BuiltOptions, index: int, blocks: int):
        super().__init__()
        self.norm = make_token_norm(options.token_norm, options.width)
        self.norm_scale = index**-0.5 if options.placement == "lns" else 1.0
        self.is_post = options.placement in ("post", "deepnorm")
        self.dropout = options.dropout
        survival = survival_of(options, index - 1, blocks)
        self.shortcut = Shortcut(options, survival, blocks) if options.residual else NoShortcut()

    def forward(self, x: Tensor) -> Tensor:
        if self.is_post:
            return self.norm(self.shortcut(self.dropped(self.branch(x)), x))
        return self.shortcut(self.dropped(self.branch(times(self.norm_scale, self.norm(x)))), x)

    def branch(self, x: Tensor) -> Tensor:
        """Return F(x)."""
        raise NotImplementedError

    def maps(self) -> dict[str, nn.Linear]:
        """Return name -> linear map, in the order of their use."""
        return {name: child for name, child in self.named_children() if isinstance(child, nn.Linear)}

    def branch_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the residual branch. A norm after the addition is not in it."""
        if isinstance(self.shortcut, NoShortcut):
            return []
        outside = {id(p) for p in self.norm.parameters()} if self.is_post else set()
        return [p for p in self.parameters() if id(p) not in outside]

    def dropped(self, y: Tensor) -> Tensor:
        """Drop numbers of y in training."""
        return F.dropout(y, self.dropout, self.training) if self.dropout else y


class Attention(SubLayer):
    """Attention of each token to all tokens, or with `is_causal` to itself and those before it (Vaswani et
    al. 2017, arXiv:1706.03762, sec. 3.2)."""

    scaled_down = ("value", "output")

    def __init__(self, options: BuiltOptions, index: int, blocks: int, *, is_causal: bool):
        super().__init__(options, index, blocks)
        width = options.width
        self.heads, self.is_causal = options.heads, is_causal
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.attend = ScaledDotProduct()
        self.output = nn.Linear(width, width)

    def branch(self, x: Tensor) -> Tensor:
        query, key, value = (
            projection(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, T, E / heads)
            for projection in (self.query, self.key, self.value)
        )
        y = self.attend(query, key, value, self.is_causal)
        return self.output(y.transpose(1, 2).flatten(2))


class Mlp(SubLayer):
    """Two linear maps of each token with an activation in between (Vaswani et al. 2017, sec. 3.3)."""

    scaled_down = ("linear1", "linear2")

    def __init__(self, options: BuiltOptions, index: int, blocks: int):
        super().__init__(options, index, blocks)
        hidden = max(1, round(options.width * options.mlp_ratio))
        self.linear1 = nn.Linear(options.width, hidden)
        # The output of a linear map of (B, T, E) is a view. A change in place would separate it from its
        # hooks, by which probes measure its gradient.
        self.activation = make_nonlinearity(options).out_of_place
        self.linear2 = nn.Linear(hidden, options.width)
        drop_input(self.linear2, options.dropout)

    def branch(self, x: Tensor) -> Tensor:
        return self.linear2(self.activation(self.linear1(x)))


class Block(nn.Module):
    """Attention and MLP: (B, T, E) -> (B, T, E). `index` is the number of the block, from 1."""

    def __init__(self, options: BuiltOptions, index: int, blocks: int, *, is_causal: bool):
        super().__init__()
        self.attention = Attention(options, index, blocks, is_causal=is_causal)
        self.mlp = Mlp(options, index, blocks)
        is_dropped = options.residual and survival_of(options, index - 1, blocks) < 1
        self.dropout = options.dropout > 0 or is_dropped  # whether the block draws random numbers

    def forward(self, x: Tensor) -> Tensor:
        return self.mlp(self.attention(x))

    def sub_layers(self) -> dict[str, SubLayer]:
        """Return name -> attention and MLP."""
        return {"attention": self.attention, "mlp": self.mlp}

    def branch_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of both residual branches. A plain block has none."""
        return [*self.attention.branch_parameters(), *self.mlp.branch_parameters()]


class Encoder(nn.Module):
    """The blocks of a transformer, whatever its tokens are: (B, T, E) -> (B, T, E).

    With `is_causal`, the output at position t depends on the inputs up to t only, as next-token prediction
    needs. With the placements pre and lns, a norm follows the last block, as in Xiong et al. 2020
    (arXiv:2002.04745, sec. 3.1). The plain and the residual encoder of equal options have the same
    parameters."""

    def __init__(self, options: BuiltOptions, blocks: int, *, is_causal: bool = False):
        super().__init__()
        self.blocks = nn.ModuleList(
            Block(options, index, blocks, is_causal=is_causal) for index in range(1, blocks + 1)
        )
        has_norm_last = options.placement in ("pre", "lns")
        self.norm = make_token_norm(options.token_norm if has_norm_last else "none", options.width)

    def forward(
        self, x: Tensor, run_blocks: Callable[[Sequence[nn.Module], Tensor], Tensor] = in_turn
    ) -> Tensor:
        return self.norm(run_blocks(self.list_blocks(), x))

    def list_blocks(self) -> list[Block]:
        """Return the blocks, input side first."""
        return cast("list[Block]", list(self.blocks))

    def scale_down(self) -> None:
        """Multiply the initial weights that DeepNorm scales by its gain beta."""
        gain = deepnorm_gain(len(self.blocks))
        for sub_layer in chain.from_iterable(block.sub_layers().values() for block in self.list_blocks()):
            for name in sub_layer.scaled_down:
                sub_layer.maps()[name].weight.data.mul_(gain)

    def weighted_layers(self, prefix: str) -> list[Layer]:
        """Return the linear maps, input side first. `prefix` is the name of this module in its network.

        The response of each is its own output, in plain and residual networks alike, because a norm makes the
        standard deviation of every token 1."""
        return [
            Layer(f"{prefix}.blocks.{b}.{kind}.{name}", "1", cast("Weighted", linear), linear)
            for b, block in enumerate(self.list_blocks())
            for kind, sub_layer in block.sub_layers().items()
            for name, linear in sub_layer.maps().items()
        ]
