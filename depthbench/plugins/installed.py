"""Entries that installed packages register with entry points of the groups depthbench.networks and so on.

In the pyproject.toml of such a package, `deep = "deep_nets.family:DEEP"` below
`[project.entry-points."depthbench.networks"]` adds the network `deep`. `DEEP` is what a plug-in would put
into its dict, e.g. a builder or a Family. The name is read from the metadata of the package. The package is
imported when the entry is first used or listed."""

import contextlib
import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from importlib.machinery import all_suffixes
from importlib.metadata import EntryPoint, distributions, entry_points
from pathlib import Path

from depthbench.errors import BadInput, one_line
from depthbench.machine.torch_settings import torch_settings_kept
from depthbench.plugins.lists import LISTS, Extensible
from depthbench.registry import Entry
from depthbench.text import single_line

_scanned: list[tuple[str, ...]] = []
"""The search path of the last search for packages."""
_told: set[str] = set()


def add_installed() -> None:
    """Add the entries of installed packages to the lists of depthbench.

    Nothing is imported. If an entry cannot be added, one line on stderr says why."""
    if _scanned == [tuple(sys.path)]:
        return
    _scanned[:] = [tuple(sys.path)]
    for known in LISTS.values():
        for point in sorted(_entry_points(known.group), key=lambda point: point.name):
            _add(known, point)


def _entry_points(group: str) -> list[EntryPoint]:
    """Return the entry points of all packages whose metadata can be read."""
    try:
        return list(entry_points(group=group))
    except Exception:  # the metadata of a package is damaged
        readable: dict[str, list[EntryPoint]] = {}
        for package in distributions():
            with contextlib.suppress(Exception):
                readable.setdefault(package.name, list(package.entry_points.select(group=group)))
        return [point for points in readable.values() for point in points]


def _add(known: Extensible, point: EntryPoint) -> None:
    origin = _origin(point)
    problem = known.problem(point.name)
    old = known.entries.get(point.name)
    if old is not None and old.origin == origin and old.find is not None:
        return  # added with an earlier search path
    if problem is None and old is not None:
        problem = f"is that of {old.origin or f'a built-in {known.noun}'}"
    if problem is None and point.value.count(":") != 1:
        problem = f"stands for {point.value!r}, which is not of the form module:attribute"
    if problem is not None:
        _say(f"{origin}: the name {point.name!r} of its {known.noun} {problem}; it is left out")
        return
    known.entries[point.name] = known.kind(point.value, origin=origin, find=_finder(known, point))


def _say(problem: str) -> None:
    if problem not in _told:
        _told.add(problem)
        print(f"depthbench: {single_line(problem)}", file=sys.stderr)


def _origin(point: EntryPoint) -> str:
    if point.dist is None:
        return "an installed package"
    return f"package {point.dist.name} {point.dist.version}"


def _finder(known: Extensible, point: EntryPoint) -> Callable[[], Entry]:
    """Return a function that imports the entry once. If that fails, each call tries again and raises."""

    @cache
    def find() -> Entry:
        where = f"{known.noun} {point.name!r} of {_origin(point)}"
        try:
            with torch_settings_kept(where):
                value = point.load()
        except BadInput:
            raise
        except Exception as error:
            raise BadInput(
                f"{where} cannot be imported from {point.value}: {one_line(error)}; repair or remove it"
            ) from error
        try:
            entry = known.as_entry(point.name, value)
        except ValueError as error:
            raise BadInput(f"{where}: {point.value} {error}") from None
        return replace(entry, source=source_of(point), origin=_origin(point), find=None)

    return find


def source_of(point: EntryPoint) -> str:
    """Return the `source` of an entry: a SHA-256 of the package's name, version and code.

    The code is every file that Python can import in the top-level package or module of the entry. Editing the
    package thus changes run ids, even at the same version. The place of installation does not."""
    name, version = (point.dist.name, point.dist.version) if point.dist is not None else ("", "")
    return _source(name, version, point.module.partition(".")[0])


@cache
def _source(name: str, version: str, module: str) -> str:
    digest = hashlib.sha256(f"{name}\0{version}".encode())
    for relative, file in _files_of(module):
        content = file.read_bytes()
        digest.update(f"\0{relative}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _files_of(module: str) -> Iterator[tuple[str, Path]]:
    """Yield the files of a top-level module, sorted by the path relative to it."""
    spec = importlib.util.find_spec(module)
    if spec is None:
        return
    suffixes = tuple(suffix for suffix in all_suffixes() if suffix != ".pyc")
    for folder in map(Path, spec.submodule_search_locations or ()):
        files = (file for file in folder.rglob("*") if file.name.endswith(suffixes) and file.is_file())
        yield from sorted((file.relative_to(folder).as_posix(), file) for file in files)
    if spec.submodule_search_locations is None and spec.origin is not None:
        yield "", Path(spec.origin)
