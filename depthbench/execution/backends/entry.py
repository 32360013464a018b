"""An entry of BACKENDS."""

import contextlib
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from depthbench.registry import Entry


@dataclass(frozen=True)
class BackendEntry(Entry):
    """A backend. `target` is a function with the signature and duties of `backend.Backend`."""

    check: Any = field(default=None, kw_only=True)
    """`"module:function"` or a function of the settings (`Execution`) that raises BadInput if the backend
    cannot be used with them. It is called before anything is written. None: nothing to check."""

    connect: Any = field(default=None, kw_only=True)
    """`"module:function"` or a function of a plan that returns a context manager, in which the backend is
    connected to its cluster. It is entered before anything is written, and raises BadInput if the cluster
    cannot train the plan. Nested contexts share one connection. None: no cluster."""

    prepare: Any = field(default=None, kw_only=True)
    """`"module:function"` or a function `(plan, display) -> plan` that completes the plan before the first
    run, e.g. with the number of runs at once. None: the plan is complete."""

    is_elsewhere: bool = field(default=False, kw_only=True)
    """Whether runs train on other machines. A plan then chooses nothing by the cores, the memory and the
    devices of this one (execution/sharing.py)."""

    is_together: bool = field(default=False, kw_only=True)
    """Whether all processes that torchrun started train each run together. A plan then gives each its share
    of the machine."""

    def connected(self, plan: Any) -> AbstractContextManager[None]:
        """Return a context with a connection to the cluster that trains the rest of `plan`."""
        if self.connect is None or not plan.todo:
            return contextlib.nullcontext()
        context: AbstractContextManager[None] = Entry(self.connect)(plan)
        return context
