"""Where the images of a run are: on the device, or in host memory or a file from which they are streamed.

A source is told which images are wanted, batch by batch (`begin`), and gives the pixels of one batch after
the other (`next`), or None where the device has them. What is wanted is the indices (B,) of whole images, or
random crops of them (`Cuts`). Shapes: N images, B batch, C channels, H W pixels."""

import atexit
import multiprocessing
import os
import signal
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from depthbench.data.files import Cuts, Files
from depthbench.data.mapped import Mapped
from depthbench.data.tensors import as_tensor
from depthbench.errors import BadInput

MOST_WORKERS = 4  # that copy pixels; decoding takes more work
LONGEST_WAIT = 1.0  # seconds, for threads that talk to processes which may have died

Wanted = np.ndarray | Cuts
Stored = Tensor | Mapped | Files
"""Images (N, C, H, W) uint8 as a source reads them."""


class Resident:
    """Images on the device. There is nothing to read: a batch is gathered there by its indices."""

    def __init__(self, x: Tensor, y: Tensor):
        self.x, self.y = x, y  # (N, C, H, W) uint8, (N,) int64

    def begin(self, wanted: Iterator[Wanted]) -> None:
        self._wanted = wanted

    def next(self) -> None:
        """Asks for the next batch, that it be drawn."""
        next(self._wanted)

    def close(self) -> None:
        pass


class Streamed:
    """Images on the host that `workers` processes read ahead; their labels are on the device.

    x (N, C, H, W) uint8: in a file, in a file each, or a tensor in shared memory. y (N,) int64. The processes
    start with the first batch, and end with `close()`, with the object, or with Python. Where the device is a
    GPU, what they read is pinned, so that its copy to the GPU is not waited for."""

    def __init__(self, x: Stored, y: Tensor, workers: int | None = None):
        self.x, self.y, self.workers = x, y, workers or stream_workers(x)
        self._wanted = _Wanted()
        self._loader = self._pixels = None
        self._threads: set[threading.Thread] = set()  # that talk to the processes
        _STREAMS.add(self)

    def begin(self, wanted: Iterator[Wanted]) -> None:
        """Read what is `wanted` from now on. What was read ahead is thrown away; the processes stay."""
        self._wanted.batches, self._pixels = wanted, None

    def next(self) -> Tensor:
        """The next batch (B, C, H, W) uint8, in host memory. Raises BadInput where a file cannot be read, and
        RuntimeError where a process has died."""
        if self._loader is None:
            self._loader = self._make_loader()
        if self._pixels is None:
            with self._noting_threads():
                self._pixels = iter(self._loader)
        try:
            pixels = next(self._pixels)
        except RuntimeError as error:  # a process has died, as a rule
            pixels = RuntimeError(str(error))  # without the error's frames, which would keep the others alive
        if isinstance(pixels, BadInput | RuntimeError):
            raise pixels
        return pixels

    def close(self) -> None:
        """End the processes; wait for that, and for the threads that talk to them: they give back semaphores,
        and if Python ended in the midst of it, its resource tracker would warn of one that is gone."""
        with self._noting_threads():
            self._pixels = self._loader = None  # a DataLoader ends them when nothing refers to it
        until = time.monotonic() + LONGEST_WAIT
        while self._threads:
            self._threads.pop().join(max(0, until - time.monotonic()))

    @contextmanager
    def _noting_threads(self) -> Iterator[None]:
        before = set(threading.enumerate())
        try:
            yield
        finally:
            self._threads |= set(threading.enumerate()) - before

    def _make_loader(self) -> DataLoader:
        """The processes are spawned: each is a fresh Python. One that is forked gets a copy of this process,
        whose other threads (of torch, of CUDA, of pinning) it lacks, but not the locks that they held. And
        one that comes from a fork server has that for its parent: it outlives us, or dies before us when a
        whole job is sent SIGTERM.

        A spawned process imports the module that Python was started with. A run executes in `python -m
        depthbench.execution.worker`, which is small and starts nothing when imported; a caller's script is
        never imported, and needs no `if __name__ == "__main__"`."""
        return DataLoader(
            _Reader(self.x),
            batch_size=None,  # what is wanted comes in batches
            sampler=self._wanted,
            num_workers=self.workers,
            multiprocessing_context="spawn",
            worker_init_fn=_leave_to_parent,
            persistent_workers=True,
            pin_memory=self.y.device.type == "cuda",
            generator=torch.Generator(),  # else it draws from the one that dropout draws from
        )


class _Wanted:
    """What is wanted of batch after batch, as a sampler that can be given another."""

    batches: Iterator[Wanted]

    def __iter__(self) -> Iterator[Wanted]:
        return self.batches


class _Reader:
    """What a process has: the images, to read some of them."""

    def __init__(self, x: Stored):
        self.x = x

    def __getitem__(self, wanted: Wanted) -> Tensor | BadInput:
        """A BadInput is handed over: raised here, it would reach a person with two tracebacks."""
        try:
            pixels = self.x.cut(wanted) if isinstance(wanted, Cuts) else self.x[wanted]
        except BadInput as error:
            return error
        return pixels if isinstance(pixels, Tensor) else as_tensor(pixels)  # (B, C, H, W) uint8


def stream_workers(x: Stored) -> int:
    """How many processes a stream of `x` has: as many as the run has threads, its share of the cores
    (execution/plan.py), so that runs at once do not have more of them together than there are cores."""
    cores = torch.get_num_threads()
    return cores if isinstance(x, Files) else min(MOST_WORKERS, cores)


def _leave_to_parent(worker: int) -> None:
    """Ctrl-C and a job's SIGTERM reach every process; ours decides, and may need a batch until it has. A
    process of a stream ends when told to, or with its parent, also where that dies before it looks: torch
    takes whoever is its parent then for the one to watch. It ends at once, as one that is forked does. Were
    Python to take itself apart while a thread shares a batch that was read ahead, that thread would abort the
    process, and DataLoader would raise it. The price: a process that an error ends has no exit code to tell
    it, and DataLoader notices it some seconds later."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    atexit.register(os._exit, 0)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(0)


_STREAMS: weakref.WeakSet[Streamed] = weakref.WeakSet()


@atexit.register  # after multiprocessing was imported, so before its own, which waits for all processes
def _close_all() -> None:
    for stream in list(_STREAMS):
        stream.close()
