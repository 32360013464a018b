"""An entry of BACKENDS."""

from dataclasses import dataclass, field
from typing import Any

from depthbench.registry import Entry


@dataclass(frozen=True)
class BackendEntry(Entry):
    """A backend. `target` is a function with the signature and duties of `backend.Backend`."""

    check: Any = field(default=None, kw_only=True)
    """`"module:function"` or a function of the settings (`Execution`) that raises BadInput if the backend
    cannot be used with them. It is called before anything is written. None: nothing to check."""

    prepare: Any = field(default=None, kw_only=True)
    """`"module:function"` or a function `(plan, display) -> plan` that completes the plan before the first
    run, e.g. with the number of runs at once. None: the plan is complete."""

    is_elsewhere: bool = field(default=False, kw_only=True)
    """Whether runs train on other machines. A plan then chooses nothing by the cores, the memory and the
    devices of this one (execution/sharing.py)."""

    is_together: bool = field(default=False, kw_only=True)
    """Whether all processes that torchrun started train each run together. A plan then gives each its share
    of the machine."""
