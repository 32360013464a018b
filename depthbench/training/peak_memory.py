"""The most memory that a run has taken, in bytes: of its process on a CPU, of the device on a GPU."""

import contextlib
import ctypes
import gc
import resource
import sys
import weakref
from pathlib import Path
from typing import Any, ClassVar

import torch

FORGET_PEAK = "5"  # proc(5): /proc/PID/clear_refs


class PeakMemory:
    """Measures from its making to its `close`. A process has one peak, and so it is nobody's while two runs
    take turns.

    On a CPU it is the greatest resident set: the images and the libraries are in it, the processes that read
    images ahead are not. On a GPU it is what torch's tensors took of the device."""

    _open: ClassVar[weakref.WeakSet["PeakMemory"]] = weakref.WeakSet()
    _is_first: ClassVar[bool] = True

    def __init__(self, device: torch.device):
        self.of = "device" if device.type == "cuda" else "process"
        self._device = device
        self._earlier: int | None = 0  # before the run was resumed; None where that is not known
        gc.collect()  # an earlier run may hold memory yet
        self._is_alone = not self._open
        for other in self._open:
            other._is_alone = False
        self._open.add(self)
        self._began_anew = self._forget()
        PeakMemory._is_first = False

    def _forget(self) -> bool:
        """Let what is measured begin with what is held now; whether it does."""
        if self.of == "device":
            torch.cuda.init()  # a process does so with its first tensor; the counters are refused before
            torch.cuda.reset_peak_memory_stats(self._device)
            return True
        with contextlib.suppress(OSError, AttributeError):  # no Linux, not allowed, or another C library
            # Workers keep freed memory (execution/process.py): an earlier run's would be charged to this one.
            ctypes.CDLL(None).malloc_trim(0)
        try:
            Path("/proc/self/clear_refs").write_text(FORGET_PEAK)
        except OSError:
            return self._is_first
        return True

    @property
    def bytes(self) -> int | None:
        """The peak so far; None where it cannot be told."""
        if not (self._is_alone and self._began_anew) or self._earlier is None:
            return None
        return max(self._earlier, self._now())

    def _now(self) -> int:
        if self.of == "device":
            return torch.cuda.max_memory_allocated(self._device)
        try:
            status = Path("/proc/self/status").read_text()
            return 1024 * int(status.partition("VmHWM:")[2].split()[0])
        except OSError:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            return peak if sys.platform == "darwin" else 1024 * peak

    def close(self) -> None:
        self._open.discard(self)

    def state(self) -> dict[str, Any]:
        return {"of": self.of, "bytes": self.bytes}

    def restore(self, state: dict[str, Any] | None) -> None:
        """Go on from an earlier part of the run; None where that kept nothing."""
        self._earlier = state["bytes"] if state and state["of"] == self.of else None
