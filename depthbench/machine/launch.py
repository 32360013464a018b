"""How this process was started: alone, or by torchrun as one of several. No torch here."""

import os
from dataclasses import dataclass
from pathlib import Path

THREADS = "OMP_NUM_THREADS"


@dataclass(frozen=True)
class Launch:
    """The place of this process among those that torchrun started: alone, unless it says otherwise."""

    rank: int = 0
    """Number of this process among all, from 0."""
    size: int = 1
    """Number of processes on all machines."""
    local_rank: int = 0
    """Number of this process among those of this machine."""
    local_size: int = 1
    """Number of processes on this machine."""

    @property
    def is_alone(self) -> bool:
        return self.size == 1


def read_launch() -> Launch:
    """Return the place of this process, from the variables that torchrun sets.

    Other launchers also set some of them, so the one that only torchrun sets decides."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return Launch()
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    return Launch(*(int(os.environ[name]) for name in names))


def thread_limit() -> int | None:
    """Return the number of threads that the user allows each process, or None without a limit.

    torchrun sets OMP_NUM_THREADS to 1 if the user has not set it, and several processes share a machine. The
    variables that torchrun itself was started with tell the two apart. Where they cannot be read, a 1 counts
    as torchrun's."""
    value = os.environ.get(THREADS, "").partition(",")[0]
    limit = int(value) if value.isdecimal() else 0
    if limit == 1 and read_launch().local_size > 1 and not _parent_has(THREADS):
        return None
    return limit or None


def _parent_has(name: str) -> bool:
    """Return whether the parent process was started with a variable of this name."""
    try:
        variables = Path(f"/proc/{os.getppid()}/environ").read_bytes()
    except OSError:  # not Linux
        return False
    return any(variable.startswith(f"{name}=".encode()) for variable in variables.split(b"\0"))
