"""Copies of the plug-ins that produced the results in a directory.

    results/<study>/plugins/<first 12 digits of the source>/my_block.py    and the neighbours that it imports

A copy has the same source as the plug-in (`Plugin.source`), so runs of a copy have the same ids. This module
executes no plug-in."""

import contextlib
from collections.abc import Iterable
from pathlib import Path

from depthbench.files import atomic
from depthbench.plugins.loading import Plugin
from depthbench.store.remote import PLUGINS, remote_of

FOLDER = PLUGINS
DIGITS = 12  # of a source, in the name of a folder
MOST_BYTES = 1 << 20  # larger files are not read back


def write_copies(results: Path, plugins: Iterable[Plugin]) -> None:
    """Store plug-ins in a results directory. Existing copies are not written again."""
    for plugin in plugins:
        folder = results / FOLDER / plugin.source[:DIGITS]
        for name, content in plugin.files.items():
            file = folder / name
            if file.is_file() and file.read_bytes() == content:
                continue
            with atomic(file) as temporary:
                temporary.write_bytes(content)


def read_copies(results: Path) -> list[Plugin]:
    """Return the plug-ins that are stored in a results directory, sorted by name and source.

    Leaves out copies that were changed, and files that `write_copies` cannot have written."""
    copies = []
    for folder in (results / FOLDER).glob("*"):
        if len(folder.name) != DIGITS or any(map(_is_suspect, (folder, *folder.rglob("*")))):
            continue
        for file in folder.glob("*.py"):
            with contextlib.suppress(OSError):
                plugin = Plugin.read(file)
                if plugin.source.startswith(folder.name):
                    copies.append(plugin)
    return sorted(copies, key=lambda plugin: (plugin.path.name, plugin.source))


def copies_of(study_file: Path, plugin: Path) -> list[Path]:
    """Return the copies of plug-ins that have the name of `plugin` and are stored with a study.

    If the study is at a URL, they are fetched first."""
    if (remote := remote_of(study_file.parent)) is not None:
        with contextlib.suppress(OSError):
            remote.pull_folder(FOLDER)
    return [each.path for each in read_copies(study_file.parent) if each.path.name == plugin.name]


def _is_suspect(path: Path) -> bool:
    """Return whether a path may lead elsewhere or is too large to be read."""
    return path.is_symlink() or (path.is_file() and path.stat().st_size > MOST_BYTES)
