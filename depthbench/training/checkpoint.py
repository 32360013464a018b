"""The state of a run on disk: enough to resume as if the run had never stopped.

Two states are kept, the newest and the one before it, so that a broken file costs some steps and not the
run. A file holds what torch.save writes, and then a line with its SHA-256. torch.load can read it."""

import errno
import hashlib
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from depthbench.files import atomic

State = dict[str, Any]
"""Plain values and tensors. See Trainer.state."""

DIGEST = b"\nsha256 %s\n"
DIGEST_BYTES = len(DIGEST % bytes(64))
HAS_DIGEST = "has_digest"
"""A state with this key must have a digest at the end of its file."""
CHUNK = 1 << 24  # bytes hashed at once
FULL = 1 << 16  # bytes: a disk with less free space is full


class Unusable(Exception):
    """A state cannot be used. The message says why, as the end of a sentence."""


def save(path: Path, state: State) -> None:
    """Write `state` to `path`, and keep the previous state as the backup."""
    with atomic(path) as temporary:
        try:
            torch.save(state | {HAS_DIGEST: True}, temporary)
        except RuntimeError as error:  # torch reports no reason if it cannot write
            if shutil.disk_usage(temporary.parent).free < FULL:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
            raise
        digest = _hash(temporary, temporary.stat().st_size)
        with temporary.open("ab") as file:
            file.write(DIGEST % digest.encode())
            file.flush()
            os.fsync(
                file.fileno()
            )  # before the backup, the only usable state if `path` is damaged, is replaced
        if path.is_file():
            path.replace(_backup(path))


def restore(path: Path, run_id: str, use: Callable[[State], None]) -> str | None:
    """Call `use` with the newest undamaged state of `run_id`, or with the one before it.

    If `use` raises Unusable, the state before is tried. Returns a note if a newer state could not be used."""
    problems = []
    for file in (path, _backup(path)):
        if not file.exists():
            continue
        try:
            state = _read(file)
            if state.get("run_id") != run_id:
                raise Unusable("belongs to another run")
            use(state)
        except Unusable as error:
            problems.append(f"{file.name} {error}")
        else:
            return _note(problems, f"resuming from step {state['step']}")
    return _note(problems, "starting from step 0")


def _read(file: Path) -> State:
    """Return the state in a file. Files of older versions have no digest.

    Raises Unusable if the file is damaged or is not a checkpoint."""
    if not file.is_file():
        raise Unusable("is not a file")
    try:
        size = file.stat().st_size - DIGEST_BYTES
        with file.open("rb") as opened:
            opened.seek(max(size, 0))
            end = opened.read()
        is_as_written = end == DIGEST % _hash(file, size).encode()
        with warnings.catch_warnings(action="ignore"):  # of what a damaged file seems to be
            state: State = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # reading a broken zip or pickle can raise anything
        raise Unusable(f"cannot be read ({type(error).__name__})") from None
    if not isinstance(state, dict):
        raise Unusable("is not a checkpoint")
    if not is_as_written and (HAS_DIGEST in state or end.startswith(DIGEST[:8])):
        raise Unusable("is damaged")
    return state


def _hash(file: Path, size: int) -> str:
    """Return the SHA-256 of the first `size` bytes of a file."""
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while size > 0 and (chunk := opened.read(min(size, CHUNK))):
            digest.update(chunk)
            size -= len(chunk)
    return digest.hexdigest()


def _note(problems: list[str], consequence: str) -> str | None:
    return f"{', '.join(problems)}: {consequence}" if problems else None


def remove(path: Path) -> None:
    """Delete both states."""
    for file in (path, _backup(path)):
        if not file.is_dir():
            file.unlink(missing_ok=True)


def _backup(path: Path) -> Path:
    return path.with_suffix(".before.pt")
