"""Attention as a module that can be measured, and the projections of nn.MultiheadAttention as layers, for
which it calls no module."""

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

PROJECTIONS = ("q_proj", "k_proj", "v_proj")
"""The projections of the queries, keys and values. The one of the output is a linear map, `out_proj`."""


def is_known(module: nn.Module) -> bool:
    """Return whether `module` is attention as torch computes it. A subclass may compute something else."""
    return isinstance(module, nn.MultiheadAttention) and type(module).forward is nn.MultiheadAttention.forward


class Packed(NamedTuple):
    """A projection as rows of a parameter."""

    parameter: nn.Parameter
    rows: slice

    @property
    def weight(self) -> Tensor:
        """The weight (out, in), with its `.grad` if the parameter has one."""
        weight = self.parameter.detach()[self.rows]
        if self.parameter.grad is not None:
            weight.grad = self.parameter.grad[self.rows]
        return weight


def projection(attention: nn.MultiheadAttention, name: str) -> Packed | None:
    """Return the projection `name` of PROJECTIONS. None: its weight is computed from other parameters."""
    packed = attention._parameters.get("in_proj_weight")
    if packed is not None:
        first = PROJECTIONS.index(name) * attention.embed_dim
        return Packed(packed, slice(first, first + attention.embed_dim))
    own = attention._parameters.get(f"{name}_weight")
    return None if own is None else Packed(own, slice(None))


def projected(attention: nn.MultiheadAttention, name: str, x: Tensor) -> Tensor:
    """Return the projection `name` of x (..., features), the query, key or value."""
    found = projection(attention, name)
    assert found is not None  # see weighted_layers
    first = PROJECTIONS.index(name) * attention.embed_dim
    biases = attention.in_proj_bias
    bias = None if biases is None else biases[first : first + attention.embed_dim]
    return nn.functional.linear(x, found.parameter[found.rows], bias)


class ScaledDotProduct(nn.Module):
    """softmax(Q K^T / sqrt(E)) V of queries, keys and values (B, heads, T, E) (Vaswani et al. 2017, eq. 1).

    With `is_causal`, position t attends to the positions up to t only. The probe `attention_entropy` and the
    count of multiply-adds look for this module."""

    def forward(self, query: Tensor, key: Tensor, value: Tensor, is_causal: bool) -> Tensor:
        return F.scaled_dot_product_attention(query, key, value, is_causal=is_causal)
