"""Where normalisation and activation stand in a block (He et al. 2016, arXiv:1603.05027, Fig. 4, Table 2)."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn

from depthbench.networks.components import ACTIVATIONS, OUT_OF_PLACE


class Order(NamedTuple):
    """What stands at each place of a block, as it is computed: N a norm, A an activation.

    Between two convolutions all orders have a norm, then an activation; they differ around the addition."""

    before: str  # each convolution
    after: str  # each convolution but the last
    after_last: str
    after_addition: str


ORDERS = {
    "original": Order("", "NA", "N", "A"),
    "norm_after_addition": Order("", "NA", "", "NA"),
    "act_before_addition": Order("", "NA", "NA", ""),
    "act_only_pre": Order("A", "N", "N", ""),
    "full_pre": Order("NA", "", "", ""),
}


def first_activation(order: Order, norm: str, activation: str) -> Callable[[Tensor], Tensor]:
    """The activation of what a block is given: out of place where no norm before it makes a tensor of its
    own, since the shortcut carries what the block is given."""
    has_norm = "N" in order.before and norm != "none"
    return (ACTIVATIONS if has_norm else OUT_OF_PLACE)[activation]


def follow(
    places: str, respond: Callable, norm: nn.Module, activation: Callable[[Tensor], Tensor], y: Tensor
) -> Tensor:
    """Norm and activation of y (B, C, H, W), those of them that `places` has, in its order.

    `respond` makes both at once (see fusing.py)."""
    if places == "NA":
        return respond(norm, activation, y)
    for place in places:
        y = norm(y) if place == "N" else activation(y)
    return y
