"""Which calls of layers are part of a pass with gradients, and not of an evaluation or a target pass."""

import sys
from typing import Any

import torch
from torch import nn
from torch.autograd.function import BackwardCFunction
from torch.utils.hooks import RemovableHandle

from depthbench.probes.own_module import after_forward, before_forward


class GradMode:
    """Whether gradients are enabled for a call of a layer.

    Within a call of the network, the mode in which that call began counts, so that a network may disable
    gradients for some of its layers. Elsewhere, the mode of the layer's own call counts. If the network calls
    a layer both with and without gradients, e.g. for a target, `StepUses` leaves out the latter."""

    def __init__(self) -> None:
        self._calls: list[bool] = []  # of the network, the innermost last

    def hooks(self, network: nn.Module) -> list[RemovableHandle]:
        """Add hooks that follow the calls of the network in a step. Forget the previous step."""
        self._calls.clear()
        return [
            before_forward(network, lambda *_: self._calls.append(is_enabled())),
            after_forward(network, lambda *_: self._calls and self._calls.pop(), always_call=True),
        ]

    def is_enabled(self) -> bool:
        """Return whether the present call of a layer is part of a pass with gradients."""
        return self._calls[0] if self._calls else is_enabled()


def is_enabled() -> bool:
    """Return whether a backward pass can follow the operations that run now."""
    return torch.is_grad_enabled() or _is_in_function()


def _is_in_function() -> bool:
    """Return whether the forward pass of an autograd.Function runs, whose backward pass gives gradients.

    It disables gradients. Checkpointing with `use_reentrant=True` is such a function."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code.co_name == "forward" and code.co_argcount:
            first = frame.f_locals.get(code.co_varnames[0])
            if isinstance(first, BackwardCFunction) and any(first.needs_input_grad):
                return True
        frame = frame.f_back
    return False
