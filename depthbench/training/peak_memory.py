"""The peak memory of a run, in bytes: of its process on a CPU, of the device on a GPU."""

import gc
import resource
import sys
import weakref
from pathlib import Path
from typing import Any, ClassVar

import torch

from depthbench.machine.memory import release

RESET_PEAK = "5"  # proc(5): /proc/PID/clear_refs


class PeakMemory:
    """A measurement of the peak memory from its creation to `close`.

    A process has only one peak, so the peak of a run is unknown if several runs take turns in the process.

    On a CPU it is the peak resident set. It includes the images and the libraries, but not the processes that
    read images ahead. On a GPU it is the memory of torch's tensors on the device."""

    _open: ClassVar[weakref.WeakSet["PeakMemory"]] = weakref.WeakSet()
    _is_first: ClassVar[bool] = True

    def __init__(self, device: torch.device):
        self.of = "device" if device.type == "cuda" else "process"
        self._device = device
        self._earlier: int | None = 0  # before the run was resumed; None if unknown
        gc.collect()  # an earlier run may still hold memory
        self._is_alone = not self._open
        for other in self._open:
            other._is_alone = False
        self._open.add(self)
        self._was_reset = self._reset()
        PeakMemory._is_first = False

    def _reset(self) -> bool:
        """Reset the peak to the memory held now. Return whether that was possible."""
        if self.of == "device":
            torch.cuda.init()  # the counters exist only after this
            torch.cuda.reset_peak_memory_stats(self._device)
            return True
        release()  # exclude freed memory of earlier runs, which workers keep (execution/process.py)
        try:
            Path("/proc/self/clear_refs").write_text(RESET_PEAK)
        except OSError:
            return self._is_first
        return True

    @property
    def bytes(self) -> int | None:
        """The peak so far, or None if it is unknown."""
        if not (self._is_alone and self._was_reset) or self._earlier is None:
            return None
        return max(self._earlier, self._peak_since_reset())

    def _peak_since_reset(self) -> int:
        if self.of == "device":
            return torch.cuda.max_memory_allocated(self._device)
        try:
            status = Path("/proc/self/status").read_text()
            return 1024 * int(status.partition("VmHWM:")[2].split()[0])
        except OSError:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            return peak if sys.platform == "darwin" else 1024 * peak

    def close(self) -> None:
        """Stop measuring."""
        self._open.discard(self)

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {"of": self.of, "bytes": self.bytes}

    def restore(self, state: dict[str, Any] | None) -> None:
        """Continue from an earlier part of the run. `state` is None if its peak was not stored."""
        self._earlier = state["bytes"] if state and state["of"] == self.of else None
