"""Entries of lists such as NETWORKS, DATASETS and PROBES. Each entry stands for a Python object.

An entry imports its object on first use, so that listing and checking names needs no torch."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from pydantic import AfterValidator

from depthbench.errors import BadInput, any_of, nearest


@dataclass(frozen=True)
class Entry:
    """One named object. `target` is `"module:attribute"` or the object itself."""

    target: Any
    about: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Fixed keyword arguments of the object."""

    source: str = field(default="", kw_only=True)
    """The SHA-256 of the code of the plug-in or package that defines the entry; empty for a built-in one."""

    origin: str = field(default="", kw_only=True)
    """Where the entry comes from: the path of a plug-in, or the name and version of a package; empty for a
    built-in one."""

    find: Callable[[], Any] | None = field(default=None, kw_only=True, repr=False, compare=False)
    """Imports and returns the entry of an installed package. None: this is the entry itself."""

    @property
    def is_ours(self) -> bool:
        """Whether the object belongs to depthbench. A plug-in's object may do anything when it is called."""
        return isinstance(self.target, str) and self.target.startswith("depthbench.")

    def resolved(self) -> Self:
        """Return the entry itself, or import it from the installed package that defines it.

        Raises BadInput if the package cannot be imported."""
        entry: Self = self if self.find is None else self.find()
        return entry

    def load(self) -> Any:
        """Return the object; the first call imports its module."""
        if self.find is not None:
            return self.resolved().load()
        if not isinstance(self.target, str):
            return self.target
        module, attribute = self.target.split(":")
        return getattr(importlib.import_module(module), attribute)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the object. `kwargs` take precedence over `options`."""
        if self.find is not None:
            return self.resolved()(*args, **kwargs)
        return self.load()(*args, **{**self.options, **kwargs})


def is_in(entries: Mapping[str, Any]) -> AfterValidator:
    """Return a pydantic validator that accepts only the names in `entries`."""

    def check(name: str) -> str:
        if name not in entries:
            raise ValueError(f"should be {any_of(sorted(entries))}")
        return name

    check.known = entries  # type: ignore[attr-defined]
    return AfterValidator(check)


def known_to(validator: object) -> Mapping[str, Any] | None:
    """Return the entries that a validator of `is_in` accepts, or None for another one."""
    return getattr(getattr(validator, "func", None), "known", None)


E = TypeVar("E", bound=Entry)


def look_up(entries: Mapping[str, E], kind: str, name: str) -> E:
    """Return the entry called `name`. Raises BadInput with the nearest known `kind`."""
    try:
        entry = entries[name]
    except KeyError:
        raise BadInput(f"no {kind} is called {name!r}; {nearest(name, entries, f'{kind}s')}") from None
    return entry.resolved()
