"""Entries of the lists NETWORKS, DATASETS and PROBES: what a name stands for, and where it is.

An entry names its Python object as `"module:attribute"` and imports it when it is first used,
so that listing and checking names needs no torch."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from depthbench.errors import BadInput, nearest


@dataclass(frozen=True)
class Entry:
    """One named thing: `target` is `"module:attribute"` or the object itself."""

    target: Any
    about: str = ""
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    source: str = field(default="", kw_only=True)  # sha256 of the plug-in file that it comes from, if it does

    @property
    def is_ours(self) -> bool:
        """Whether it is depthbench's own. A plug-in's may do anything when it is built or called."""
        return isinstance(self.target, str) and self.target.startswith("depthbench.")

    def load(self) -> Any:
        """The object itself; imports its module on the first call."""
        if not isinstance(self.target, str):
            return self.target
        module, attribute = self.target.split(":")
        return getattr(importlib.import_module(module), attribute)

    def __call__(self, *args, **kwargs):
        return self.load()(*args, **{**self.options, **kwargs})


def look_up(catalogue: Mapping[str, Entry], kind: str, name: str) -> Entry:
    """The entry called `name`. Raises BadInput that names the nearest known `kind`."""
    try:
        return catalogue[name]
    except KeyError:
        raise BadInput(f"no {kind} is called {name!r}: {nearest(name, catalogue)}") from None
