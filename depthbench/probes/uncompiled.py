"""Run compiled functions uncompiled, so that hooks see what happens in them."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

_users: set[object] = set()
_stance = ExitStack()


@contextmanager
def uncompiled() -> Iterator[None]:
    """Make a context in which functions that a user's network compiles run uncompiled.

    Contexts can overlap and end in any order. The last one restores the stance of the compiler."""
    if "torch._dynamo" not in sys.modules:  # nothing is compiled
        yield
        return
    user = object()
    if not _users:
        _stance.enter_context(torch.compiler.set_stance("force_eager"))
    _users.add(user)
    try:
        yield
    finally:
        _users.remove(user)
        if not _users:
            _stance.close()
