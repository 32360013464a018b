"""The index of a results directory: all records in one file, which is faster to read than thousands of files.

The first line is the digest of the rest, which is a JSON object.

The index only saves time. A record is taken from it only if run.json has not changed since it was indexed. An
index that is damaged, or that another version wrote, is rebuilt."""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from depthbench.files import read_regular, write_text
from depthbench.store import record
from depthbench.store.study_store import INDEX, StudyStore
from depthbench.study.model import FORMAT

SETTLED = 2.0
"""Seconds. A younger run.json is not indexed, because it may change without a new time stamp."""


def read_records(store: StudyStore) -> dict[str, dict[str, Any] | None]:
    """Return the content of run.json of each run, sorted by the name of its directory.

    None stands for a file that is missing or cannot be read. Updates the index if the directory can be
    written. Raises BadInput for a record of another results format."""
    indexed, now, entries = _read(store.path / INDEX), time.time_ns(), {}
    records: dict[str, dict[str, Any] | None] = {}
    for name in store.run_names():
        state = _state(f"{store.path}/runs/{name}/run.json")
        if state is not None and name in indexed and indexed[name]["state"] == state:
            entries[name] = indexed[name]
            records[name] = entries[name]["record"]
            continue
        read = store.run(name).read()
        records[name] = None if read is None else read.to_dict()
        if read is not None and state is not None and now - state[0] > SETTLED * 1e9:
            entries[name] = {"state": state, "record": read.to_dict()}
    if entries != indexed:
        with contextlib.suppress(OSError):  # results that cannot be written are read without an index
            _write(store.path / INDEX, entries)
    return records


def _state(file: str) -> list[int] | None:
    """Return what identifies a version of the file; None if there is no such file."""
    try:
        stat = os.stat(file)
    except OSError:
        return None
    return [stat.st_mtime_ns, stat.st_size, stat.st_ino]


def _read(file: Path) -> dict[str, dict[str, Any]]:
    """Return the entries of an index. Empty if it is missing, damaged, or of another version."""
    try:
        digest, _, text = read_regular(file).decode().partition("\n")
    except (OSError, ValueError):
        return {}
    with contextlib.suppress(ValueError, RecursionError):
        entries = json.loads(text) if digest == _digest(text) else {}
        if isinstance(entries, dict) and all(_is_entry(entry) for entry in entries.values()):
            return entries
    return {}


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("record"), dict) and "state" in entry


def _write(file: Path, entries: Mapping[str, Mapping[str, Any]]) -> None:
    text = json.dumps(entries, separators=(",", ":"))
    write_text(file, f"{_digest(text)}\n{text}")


def _digest(text: str) -> str:
    """Return the digest of an index. It also depends on the code that decides which records can be read."""
    version = f"{FORMAT}\n{Path(record.__file__).read_text(encoding='utf-8')}"
    return hashlib.sha256(f"{version}\n{text}".encode()).hexdigest()
