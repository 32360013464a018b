"""Entropy of attention, the mean over heads, queries and images, in nats.

It is log T if each query attends to all T keys alike, and 0 if it attends to one. A low entropy goes along
with unstable training (Zhai et al. 2023, arXiv:2303.06296). With a causal mask, query t has t keys, so that
the maximum is the mean of log t."""

import math

import torch
from torch import Tensor

from depthbench.machine.precision import widest_float
from depthbench.networks.attention import ScaledDotProduct
from depthbench.probes.gate_mean import mean_of_all
from depthbench.probes.probe import Probe


def entropy(query: Tensor, key: Tensor, value: Tensor, is_causal: bool = False) -> Tensor:
    """Return the mean entropy of softmax(Q K^T / sqrt(E)), in float64 (float32 on Apple GPUs).

    query, key: (B, heads, T, E)."""
    dtype = torch.promote_types(query.dtype, torch.float32)
    with torch.autocast(query.device.type, enabled=False):  # which would round the scores
        scores = query.to(dtype) @ key.to(dtype).transpose(-2, -1) / math.sqrt(query.shape[-1])
    if is_causal:
        future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(future, -math.inf)
    entropies = torch.special.entr(scores.softmax(-1)).sum(-1)
    return entropies.sum(dtype=widest_float(query.device)) / entropies.numel()


PROBE = Probe("inputs", entropy, combine=mean_of_all, where=ScaledDotProduct)
