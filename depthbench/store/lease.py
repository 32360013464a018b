"""Leases: locks for stores that have none. A lease is a file that its holder refreshes.

A lease is taken over when its file has not changed for EXPIRY_SECONDS by the clock of the process that waits.
The clocks of two machines are never compared. A process on the machine of the holder sees at once whether the
holder has died."""

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from depthbench.store.files_at import FilesAt

REFRESH_SECONDS = 20.0
EXPIRY_SECONDS = 90.0
POLL_SECONDS = 1.0
SETTLE_SECONDS = 2.0
"""Pause before checking whether another process took the same lease, in stores where both can."""

_held: set[str] = set()
"""The owners of the leases that this process holds."""


class LeaseIsHeld(RuntimeError):
    """Another process holds the lease."""


class Lease:
    """A lease on the file `name`. It is held from `acquire` until `release`."""

    def __init__(self, files: FilesAt, name: str):
        self.files, self.name = files, name
        self.owner = uuid.uuid4().hex
        self._count = 0
        self._has_ended = threading.Event()
        self._lock = threading.Lock()

    def acquire(self, timeout: float, waiting: Callable[[str], None] = lambda host: None) -> None:
        """Take the lease. Raises LeaseIsHeld if its holder is alive and keeps it for `timeout` seconds.

        If it is unknown whether the holder is alive, waits until the lease is refreshed or expires, and calls
        `waiting` with the name of the holder's machine."""
        _held.add(self.owner)  # before others can see the file
        try:
            self._acquire(timeout, waiting)
        except BaseException:
            _held.discard(self.owner)
            raise
        threading.Thread(target=self._refresh, name=f"lease of {self.name}", daemon=True).start()

    def _acquire(self, timeout: float, waiting: Callable[[str], None]) -> None:
        began = seen_at = time.monotonic()
        seen, is_alive, has_asked_for_patience = None, False, False
        while True:
            content = self.files.read(self.name)
            now = time.monotonic()
            if content is None:
                if self._create(is_contested=seen is not None):
                    return
                continue
            if content != seen:
                is_alive |= seen is not None
                seen, seen_at = content, now
            holder = _parse(content)
            has_died = _has_died(holder)
            if has_died or now - seen_at > EXPIRY_SECONDS:
                self._remove(content)
                continue
            if now - began >= timeout and (is_alive or has_died is False):
                raise LeaseIsHeld(str(holder.get("host", "another machine")))
            if now - began >= timeout and not has_asked_for_patience:
                has_asked_for_patience = True
                waiting(str(holder.get("host", "another machine")))
            time.sleep(POLL_SECONDS)

    def release(self) -> None:
        """Give the lease back. A lease that cannot be deleted expires."""
        self._has_ended.set()
        with self._lock, contextlib.suppress(OSError):
            if self._is_ours():
                self.files.delete(self.name)
        _held.discard(self.owner)

    def check(self) -> None:
        """Raise OSError if another process has taken the lease, e.g. while this machine was suspended."""
        with self._lock:
            if not self._renew():
                raise OSError(f"{self.files.url}/{self.name}: another process has taken over the lock")

    def _create(self, *, is_contested: bool) -> bool:
        if not self.files.create(self.name, self._content()):
            return False
        if is_contested or not self.files.is_exclusive:
            time.sleep(SETTLE_SECONDS)
        return self._is_ours()

    def _remove(self, content: bytes) -> None:
        """Delete the lease of a dead holder, unless it has changed."""
        if self.files.read(self.name) == content:
            self.files.delete(self.name)

    def _refresh(self) -> None:
        while not self._has_ended.wait(REFRESH_SECONDS):
            with self._lock, contextlib.suppress(OSError):
                if self._has_ended.is_set() or not self._renew():
                    return

    def _renew(self) -> bool:
        """Change the file, and return whether the lease is ours. A file that was deleted is created again."""
        content = self.files.read(self.name)
        if content is None:
            return self.files.create(self.name, self._content())
        if _parse(content).get("owner") != self.owner:
            return False
        self.files.write(self.name, self._content())
        return True

    def _is_ours(self) -> bool:
        content = self.files.read(self.name)
        return content is not None and _parse(content).get("owner") == self.owner

    def _content(self) -> bytes:
        self._count += 1
        holder = {
            "owner": self.owner,
            "count": self._count,
            "host": socket.gethostname(),
            "machine": _machine(),
            "pid": os.getpid(),
            "started": _started(os.getpid()),
        }
        return json.dumps(holder).encode()


def held(files: FilesAt, names: Collection[str]) -> set[str]:
    """Return those leases whose holders are alive.

    A holder on another machine is alive if it refreshes its lease, which takes some seconds to see."""
    seen = files.read_many(list(names))
    died = {name: _has_died(_parse(content)) for name, content in seen.items()}
    alive = {name for name in died if died[name] is False}
    unknown = {name for name in died if died[name] is None}
    deadline = time.monotonic() + 1.5 * REFRESH_SECONDS
    while unknown and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        newer = files.read_many(list(unknown))
        changed = {name for name in unknown if newer.get(name) != seen[name]}
        alive |= changed & newer.keys()  # the others were given back
        unknown -= changed
    return alive


def _parse(content: bytes) -> dict[str, Any]:
    """Return what a lease says of its holder. Empty if it is damaged or not written yet."""
    with contextlib.suppress(ValueError, RecursionError):  # RecursionError: thousands of nested brackets
        holder = json.loads(content)
        if isinstance(holder, dict):
            return holder
    return {}


def _has_died(holder: dict[str, Any]) -> bool | None:
    """Return whether the holder has died, or None if it is on another machine."""
    machine = _machine()
    if not machine or holder.get("machine") != machine:
        return None
    if holder.get("pid") == os.getpid():
        return holder.get("owner") not in _held
    return _started(holder.get("pid")) != holder.get("started")


def _started(pid: object) -> int | None:
    """Return when a process was started, in clock ticks since the machine was. None if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return int(stat.rpartition(")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return None


def _machine() -> str:
    """Return what identifies this start of this machine and its process ids. Empty if that is unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""
