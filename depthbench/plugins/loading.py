"""Load plug-ins: a user's files of networks, data sets, probes, optimisers, figures and tables."""

import contextlib
import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from depthbench.errors import BadInput, any_of, one_line
from depthbench.machine.torch_settings import torch_settings_kept
from depthbench.paths import expand
from depthbench.plugins.installed import add_installed
from depthbench.plugins.lists import LISTS, describe
from depthbench.plugins.neighbours import forgetting_on_error, load_module, neighbours_of, public
from depthbench.registry import Entry
from depthbench.text import readable


@dataclass(frozen=True)
class Plugin:
    """A plug-in file, and the files next to it that it imports."""

    path: Path
    files: Mapping[str, bytes]
    """Path relative to the folder of the plug-in -> content. The plug-in comes first."""

    @classmethod
    def read(cls, path: Path) -> "Plugin":
        """Read the files of a plug-in. Nothing is executed."""
        return cls(path, {path.name: path.read_bytes(), **dict(sorted(neighbours_of(path).items()))})

    @property
    def source(self) -> str:
        """The SHA-256 of its files. Without neighbours, it is the SHA-256 of the plug-in.

        It does not depend on the name or the location of the plug-in."""
        (_, content), *neighbours = self.files.items()
        digest = hashlib.sha256(content)
        for name, other in neighbours:
            digest.update(f"\0{name}\0{len(other)}\0".encode())
            digest.update(other)
        return digest.hexdigest()

    def write(self, folder: Path) -> Path:
        """Write its files to a folder, and return the path of the plug-in there."""
        for name, content in self.files.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        return folder / self.path.name


_loaded: dict[Path, Plugin] = {}
"""Full path -> the plug-in that was loaded from it, or from another file with the same content."""


def load_plugins(paths: Iterable[str | Path]) -> None:
    """Load several plug-ins, and add the entries of installed packages. See `load_plugin`."""
    add_installed()
    for path in paths:
        load_plugin(path)


def load_plugin(path: str | Path) -> None:
    """Execute a user's file, and add the dicts of LISTS that it defines to the lists of depthbench.

    These are NETWORKS, DATASETS, PROBES, OPTIMIZERS, FIGURES and TABLES. Each maps names to entries or to the
    objects themselves (e.g. a builder, a loader, a Probe). The file needs at least one of them. It may import
    the files next to it. Loading the same content twice is harmless.

    Raises BadInput if the file cannot be imported, uses a name that exists, defines a dict of the wrong form,
    changes torch's settings for the whole process (machine/torch_settings.py), or has changed since it was
    loaded. Then nothing is added."""
    path = expand(path).resolve()
    plugin = _read(path)
    add_installed()  # to detect names that packages use
    if (known := _loaded.get(path)) is not None:
        if known.source != plugin.source:
            raise BadInput(f"--plugin {path}: it has changed since it was loaded; restart Python to load it")
        return
    same = next((each for each in _loaded.values() if each.source == plugin.source), None)
    if same is None:
        with forgetting_on_error():
            added = _execute(plugin)
        for key, entries in added.items():
            LISTS[key].entries.update(entries)
    _loaded[path] = same or plugin


def _read(path: Path) -> Plugin:
    if not path.is_file():
        if path in _loaded:  # it was deleted
            return _loaded[path]
        what = "is a folder" if path.is_dir() else "no such file"
        raise BadInput(f"--plugin {path}: {what}; give the path of a Python file")
    if path.suffix != ".py":
        raise BadInput(f"--plugin {path}: not a Python file; its name must end in .py")
    try:
        return Plugin.read(path)
    except OSError as error:
        raise BadInput(f"--plugin {path}: cannot be read ({error.strerror}); make it readable") from None


def loaded(path: str | Path) -> Plugin | None:
    """Return the plug-in that was loaded from this full path, or from another file with the same content."""
    return _loaded.get(Path(path))


def _execute(plugin: Plugin) -> dict[str, dict[str, Entry]]:
    """Execute a plug-in and return the entries that it defines, by list. Raises BadInput."""
    path = plugin.path
    try:
        with torch_settings_kept("it"), _random_state_kept():
            names = vars(load_module(path, plugin.files))
    except (Exception, SystemExit) as error:
        raise BadInput(f"--plugin {path}: {public(one_line(error), path)}") from error
    defined = {
        key: names[key]
        for key, known in LISTS.items()
        if key in names and names[key] is not known.entries  # a plug-in may import depthbench's own list
    }
    if not defined:
        raise BadInput(f"--plugin {path}: defines no dict {any_of(LISTS)}; define at least one of them")
    for key, values in defined.items():
        if not isinstance(values, dict):
            kind = describe(values)
            raise BadInput(f"--plugin {path}: {key} is {kind}; make it a dict, name -> {LISTS[key].noun}")
        _check_names(path, key, values)
    return {key: _entries(plugin, key, values) for key, values in defined.items()}


@contextlib.contextmanager
def _random_state_kept() -> Iterator[None]:
    """Restore torch's random state, so that a plug-in that seeds it affects nothing else."""
    torch: Any = sys.modules.get("torch")
    if torch is None:
        yield
    else:
        with torch.random.fork_rng(devices=[]):
            yield


def _check_names(path: Path, key: str, values: dict[Any, Any]) -> None:
    """Raise BadInput for a name that cannot be part of a file name or that exists."""
    known = LISTS[key].entries
    for name in values:
        problem = LISTS[key].problem(name) if isinstance(name, str) else "is not text"
        if problem is not None:
            shown = readable(name) if isinstance(name, str) else name
            raise BadInput(f"--plugin {path}: the name {shown!r} in {key} {problem}; use another name")
        if name in known:
            owner = f" (of {known[name].origin})" if known[name].origin else ""
            raise BadInput(f"--plugin {path}: {key} already has an entry {name!r}{owner}; use another name")


def _entries(plugin: Plugin, key: str, values: dict[str, Any]) -> dict[str, Entry]:
    entries = {}
    for name, value in values.items():
        try:
            entry = LISTS[key].as_entry(name, value)
        except ValueError as error:
            raise BadInput(f"--plugin {plugin.path}: {key}[{name!r}] {error}") from None
        entries[name] = replace(entry, source=plugin.source, origin=str(plugin.path))
    return entries
