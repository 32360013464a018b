"""Normalisation, addition and nonlinearity as one kernel in each direction, written by torch.compile.

Between two convolutions, a step reads and writes every activation several times for little arithmetic. A
network that supports fusing calls `self.respond(norm, activation, z, shortcut)`. This is `in_parts` until
`fuse` replaces it with a `Fused`, which rounds differently in the last digits. Use it on GPUs only: on a CPU
the kernels of torch.compile are several times slower than torch's own (measured with torch 2.14)."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthbench.errors import BadInput

MAX_SHAPES = 1024  # torch compiles one kernel per shape, by default at most 8; a DenseNet has many shapes


class Respond(Protocol):
    """A function like `in_parts`."""

    def __call__(
        self,
        norm: nn.Module,
        activation: Callable[[Tensor], Tensor],
        z: Tensor,
        shortcut: Tensor | None = None,
        /,
    ) -> Tensor: ...


@runtime_checkable
class Fusible(Protocol):
    """A module whose norm, addition and activation can be fused."""

    respond: Respond


def in_parts(
    norm: nn.Module, activation: Callable[[Tensor], Tensor], z: Tensor, shortcut: Tensor | None = None
) -> Tensor:
    """Return the activation of norm(z) + shortcut, or of norm(z) without a shortcut.

    All shapes are (B, C, H, W)."""
    y = norm(z)
    return activation(y if shortcut is None else y.add_(shortcut))  # in place: less memory


def fuse(network: nn.Module, backend: str = "inductor") -> None:
    """Make `network` train with fused kernels between its convolutions.

    Raises BadInput if the network does not support it."""
    if not isinstance(network, Fusible):
        raise BadInput(
            f"{type(network).__name__} cannot be compiled: it has no respond(); use --step captured"
        )
    fused = Fused(backend)
    for module in network.modules():
        if isinstance(module, Fusible):
            module.respond = fused


class Fused:
    """Compute `in_parts` as one kernel for BatchNorm2d and ReLU in training.

    Everything else, and a norm that a probe observes, is computed by `in_parts`."""

    def __init__(self, backend: str) -> None:
        config = torch._dynamo.config
        config.recompile_limit = max(config.recompile_limit, MAX_SHAPES)
        config.accumulated_recompile_limit = max(config.accumulated_recompile_limit, MAX_SHAPES)
        self._compiled: Callable[..., Tensor] = torch.compile(
            _batch_norm_act, backend=backend, dynamic=False, fullgraph=True
        )

    def __call__(
        self,
        norm: nn.Module,
        activation: Callable[[Tensor], Tensor],
        z: Tensor,
        shortcut: Tensor | None = None,
    ) -> Tensor:
        is_watched = bool(norm._forward_hooks)
        if is_watched or not (norm.training and type(norm) is nn.BatchNorm2d and activation is F.relu_):
            return in_parts(norm, activation, z, shortcut)
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked.add_(1)
        return self._compiled(
            z,
            shortcut,
            weight=norm.weight,
            bias=norm.bias,
            running_mean=norm.running_mean,
            running_var=norm.running_var,
            momentum=norm.momentum,
            eps=norm.eps,
        )


def _batch_norm_act(
    z: Tensor,
    shortcut: Tensor | None,
    *,
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    momentum: float,
    eps: float,
) -> Tensor:
    y = F.batch_norm(z, running_mean, running_var, weight, bias, True, momentum, eps)
    return F.relu(y if shortcut is None else y + shortcut)
