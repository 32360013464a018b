"""Loads a user's own file of networks, data sets and probes."""

import hashlib
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from depthbench.data import DATASETS
from depthbench.errors import BadInput, told
from depthbench.networks import NETWORKS, Family
from depthbench.probes import PROBES
from depthbench.registry import Entry


def load_plugin(path: str | Path) -> None:
    """Add what a user's own file defines in its NETWORKS, DATASETS and PROBES to ours.

    Each of the three is a dict, name -> entry or the object itself (a builder, a loader, a Probe); one of
    them is needed. A name that is taken is refused. Loading the same file twice is harmless.
    Raises BadInput if the file cannot be imported; nothing of it is then kept."""
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
