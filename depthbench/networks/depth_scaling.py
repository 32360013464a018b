"""Residual branches that are scaled with the depth: x + m^-alpha F(x), m = L / L_base, for L residual blocks.

alpha is 0 in the standard network, 1/2 in depth-muP (Yang et al. 2023, arXiv:2310.02244, Table 1) and 1 in
CompleteP (Dey et al. 2025, arXiv:2505.01618, Table 1). The network with L_base blocks is the standard one for
every alpha. training/depth_rules.py has the rules for the optimiser. No torch here."""

from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class DepthScaling:
    """The scale of the branches of a network of `blocks` residual blocks.

    A block can consist of several branches, as in a transformer, where it has two. All have the same scale,
    and only the ratio of blocks counts."""

    alpha: float
    blocks: int
    base_blocks: int

    @property
    def multiplier(self) -> float:
        """The depth relative to the base depth, m."""
        return self.blocks / self.base_blocks

    @cached_property
    def branch(self) -> float:
        """The factor of each branch, m^-alpha."""
        return float(self.multiplier**-self.alpha)
