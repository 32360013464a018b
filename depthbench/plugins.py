"""Load a user's own file of networks, data sets and probes."""

import hashlib
import importlib.util
import sys
from dataclasses import replace
from importlib.abc import Loader
from pathlib import Path
from types import ModuleType
from typing import Any

from depthbench.data import DATASETS
from depthbench.errors import BadInput, any_of, one_line
from depthbench.networks import NETWORKS, Family
from depthbench.paths import is_text, problem_of_name
from depthbench.probes import PROBES
from depthbench.registry import Entry
from depthbench.text import readable

PREFIX = "depthbench_plugin_"  # of the modules of plug-ins
LISTS: dict[str, tuple[dict[str, Any], type[Entry]]] = {  # name in the file -> list to extend, kind of entry
    "NETWORKS": (NETWORKS, Family),
    "DATASETS": (DATASETS, Entry),
    "PROBES": (PROBES, Entry),
}


def load_plugin(path: str | Path) -> None:
    """Execute a user's file, and add its NETWORKS, DATASETS and PROBES to the lists of depthbench.

    Each of the three is a dict, name -> entry or the object itself (a builder, a loader, a Probe). The file
    needs at least one of them. Loading the same file twice is harmless. Raises BadInput if the file cannot be
    imported or uses a name that exists already; then nothing is added."""
    path = Path(path).resolve()
    if is_loaded(path):
        return
    module_name = _module_name(path)
    if not path.is_file():
        raise BadInput(f"--plugin {path}: no such file; give the path of a Python file")
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise BadInput(f"--plugin {path}: not a Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses, for example, look up their module there
    try:
        new_entries = _execute(module, spec.loader, path)
    except BaseException:
        del sys.modules[module_name]
        raise
    source = source_of(path)
    for key, values in new_entries.items():
        entries, kind = LISTS[key]
        entries.update(
            {name: replace(_as_entry(value, kind), source=source) for name, value in values.items()}
        )


def source_of(path: str | Path) -> str:
    """Return the `source` of the entries that a plug-in file defines: the SHA-256 of the file."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def is_loaded(path: Path) -> bool:
    """Return whether the plug-in with this full path has been loaded."""
    return getattr(sys.modules.get(_module_name(path)), "__file__", None) == str(path)


def plugin_with(attribute: str, name: str) -> str | None:
    """Return the full path of the loaded plug-in whose dict `attribute` has `name`, e.g. in NETWORKS."""
    for module_name, module in sys.modules.items():
        if module_name.startswith(PREFIX) and name in getattr(module, attribute, ()):
            return module.__file__
    return None


def _module_name(path: Path) -> str:
    return f"{PREFIX}{path.stem}"


def _execute(module: ModuleType, loader: Loader, path: Path) -> dict[str, dict[str, Any]]:
    """Execute `module` and return the dicts of LISTS that it defines. Raises BadInput."""
    try:
        loader.exec_module(module)
    except Exception as error:
        raise BadInput(f"--plugin {path}: {one_line(error)}") from error
    defined = {key: vars(module)[key] for key in LISTS if isinstance(vars(module).get(key), dict)}
    if not defined:
        raise BadInput(f"--plugin {path}: defines no dict {any_of(LISTS)}; define at least one of them")
    for key, values in defined.items():
        entries, _ = LISTS[key]
        for name in values:
            problem = None
            if not isinstance(name, str):
                problem = "is not text"
            elif key == "NETWORKS":  # the names of run directories contain it
                problem = problem_of_name(name)
            elif not name or not is_text(name):
                problem = "is not UTF-8" if name else "is empty"
            if problem is not None:
                shown = readable(name) if isinstance(name, str) else name
                raise BadInput(f"--plugin {path}: the name {shown!r} in {key} {problem}; use another name")
        if known := sorted(set(values) & set(entries)):
            raise BadInput(f"--plugin {path}: {key} already has an entry {known[0]!r}; use another name")
    return defined


def _as_entry(value: Any, kind: type[Entry]) -> Entry:
    """Return `value` as an entry of `kind`. `value` is such an entry, a plain Entry, or the object itself."""
    if isinstance(value, kind):
        return value
    return kind(value.target, value.about, value.options) if isinstance(value, Entry) else kind(value)
