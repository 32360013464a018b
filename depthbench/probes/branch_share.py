"""Share of a residual branch in the stream: what it adds, relative to what the shortcut carries.

With pre-LN the stream grows with the depth, so that late branches change it less and less (Xiong et al. 2020,
arXiv:2002.04745, lemma 2; Sun et al. 2025, arXiv:2502.05795)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from depthbench.networks.encoder import BranchSum
from depthbench.probes.probe import Probe
from depthbench.probes.response_std import std, std_and_mean, std_of_all


def share(branch: Tensor, carried: Tensor) -> Tensor:
    """Return std(branch) / std(carried) of two tensors (B, ...), in float64 (float32 on Apple GPUs)."""
    return std(branch) / std(carried)


def share_with_parts(branch: Tensor, carried: Tensor) -> Tensor:
    """Return the share, and the standard deviation and the mean of both tensors, (5,)."""
    parts = torch.cat([std_and_mean(branch), std_and_mean(carried)])
    return torch.cat([(parts[0] / parts[2])[None], parts])


def share_of_all(summaries: Tensor, sizes: Sequence[int]) -> Tensor:
    """Return the share over several uses, given `share_with_parts` (uses, 5) and the size of each."""
    return std_of_all(summaries[:, 1:3], sizes) / std_of_all(summaries[:, 3:5], sizes)


PROBE = Probe("inputs", share, combine=share_of_all, summarise=share_with_parts, where=BranchSum)
