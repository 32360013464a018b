"""Hooks that act on the one module that they were added to, and not on copies of it."""

from collections import OrderedDict
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle


class _OwnHook:
    """A hook of `module`, which does nothing on other modules.

    copy.deepcopy, pickle and torch.save copy the hooks of a module with it, e.g. if a step makes an average
    model or stores the best one. In their copies, a method that does nothing replaces the hook. It is one of
    the standard library, so that a stored model can be loaded without depthbench."""

    def __init__(self, module: nn.Module, hook: Callable[..., Any]):
        self._module, self._hook = module, hook
        self.number = 0
        """The key of the hook in its module."""

    def __call__(self, module: nn.Module, *arguments: Any) -> None:
        if module is self._module:
            self._hook(module, *arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        # A handle in the copy reserves the number in the process that loads it. Otherwise, PyTorch could give
        # it to another hook, which would get the options of this one.
        handle = RemovableHandle(OrderedDict())
        handle.id = self.number
        return getattr, (nullcontext(handle), "__exit__")


def before_forward(module: nn.Module, hook: Callable[..., Any]) -> RemovableHandle:
    """Call `hook(module, inputs)` before each forward pass of `module`, but not of copies of it.

    The hook cannot change the inputs."""
    own = _OwnHook(module, hook)
    handle = module.register_forward_pre_hook(own)
    own.number = handle.id
    return handle


def after_forward(
    module: nn.Module, hook: Callable[..., Any], *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    """Call `hook(module, inputs, output)` after each forward pass of `module`, but not of copies of it.

    The hook cannot change the output. The options are those of nn.Module.register_forward_hook."""
    own = _OwnHook(module, hook)
    handle = module.register_forward_hook(own, with_kwargs=with_kwargs, always_call=always_call)
    own.number = handle.id
    return handle
