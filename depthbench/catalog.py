"""Entries of the lists NETWORKS, DATASETS and PROBES: what a name stands for, and where it is.

An entry names its Python object as `"module:attribute"` and imports it when it is first used,
so that listing and checking names needs no torch."""

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from depthbench.errors import BadInput, nearest, told


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


def load_plugin(path: str | Path) -> None:
    """Add what a user's own file defines in its NETWORKS, DATASETS and PROBES to ours.

    Each of the three is a dict, name -> entry or the object itself (a builder, a loader, a Probe); one of
    them is needed. A name that is taken is refused. Loading the same file twice is harmless.
    Raises BadInput if the file cannot be imported; nothing of it is then kept."""
    from depthbench.data import DATASETS
    from depthbench.networks import NETWORKS, Family
    from depthbench.probes import PROBES

    path = Path(path).resolve()
    module_name = f"depthbench_plugin_{path.stem}"
    if getattr(sys.modules.get(module_name), "__file__", None) == str(path):
        return
    if not path.is_file():
        raise BadInput(f"--plugin {path}: there is no such file")
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise BadInput(f"--plugin {path}: not a Python file (its name must end in .py)")
    module = importlib.util.module_from_spec(spec)
    lists = {"NETWORKS": NETWORKS, "DATASETS": DATASETS, "PROBES": PROBES}
    sys.modules[module_name] = module  # a dataclass, for one, looks its module up there
    try:
        additions = _additions(module, path, lists)
    except BaseException:
        del sys.modules[module_name]
        raise
    source = hashlib.sha256(path.read_bytes()).hexdigest()
    for key, added in additions.items():
        kind = Family if key == "NETWORKS" else Entry
        entries = {name: replace(_entry(value, kind), source=source) for name, value in added.items()}
        lists[key].update(entries)


def _additions(module: ModuleType, path: Path, lists: Mapping[str, Mapping]) -> dict[str, dict]:
    """Execute `module`: the dicts it adds to `lists`. Raises BadInput."""
    try:
        module.__spec__.loader.exec_module(module)
    except Exception as error:
        raise BadInput(f"--plugin {path}: {told(error)}") from error
    additions = {key: vars(module)[key] for key in lists if isinstance(vars(module).get(key), dict)}
    if not additions:
        raise BadInput(f"--plugin {path}: it defines none of the dicts {', '.join(lists)}")
    for key, added in additions.items():
        taken = sorted(set(added) & set(lists[key]))
        if taken:
            raise BadInput(f"--plugin {path}: {key} has {taken[0]!r} already; use another name")
    return additions


def _entry(value: Any, kind: type[Entry]) -> Entry:
    """What a plug-in gives as `value`, as an entry of `kind`."""
    if isinstance(value, kind):
        return value
    return kind(value.target, value.about, value.options) if isinstance(value, Entry) else kind(value)
