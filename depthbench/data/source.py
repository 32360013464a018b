"""Sources of training images: on the device, or streamed to it from host memory or files.

`begin` gives a source the requests of all batches. A request is the indices (B,) of whole images, or random
crops of them (`Crops`). `next` returns the pixels of the next batch, or None if the device already has them.
Shapes: N images, B batch, C channels, H W pixels."""

import atexit
import multiprocessing
import os
import signal
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from depthbench.data.files import Crops, Files
from depthbench.data.mapped import Mapped
from depthbench.data.tensors import as_tensor
from depthbench.errors import BadInput
from depthbench.machine.parent import end_with_parent

MAX_COPYING_WORKERS = 4  # decoding takes more work than copying and gets more processes
MAX_THREAD_WAIT = 1.0  # seconds to wait for a thread that talks to a process, which may have died

Request = np.ndarray | Crops
Stored = Tensor | Mapped | Files
"""Images (N, C, H, W) uint8 as a source reads them."""


class Resident:
    """Images on the device, where each batch is gathered by its indices."""

    def __init__(self, x: Tensor, y: Tensor):
        self.x, self.y = x, y  # (N, C, H, W) uint8, (N,) int64

    def begin(self, requests: Iterator[Request]) -> None:
        """Take `requests` from now on."""
        self._requests = requests

    def next(self) -> None:
        """Take the next request, so that its batch is drawn. There is nothing to read."""
        next(self._requests)

    def close(self) -> None:
        """Do nothing: there are no processes."""


class Streamed:
    """Images on the host that `workers` processes read ahead. Their labels are on the device.

    x (N, C, H, W) uint8 is one file, one file per image, or a tensor in shared memory. y is (N,) int64. The
    processes start with the first batch. They end with `close()`, with this object or with Python. For a GPU,
    batches are pinned, so that their copy does not block."""

    def __init__(self, x: Stored, y: Tensor, workers: int | None = None):
        self.x, self.y, self.workers = x, y, workers or stream_workers(x)
        self._requests = _Requests()
        self._loader: DataLoader[Any] | None = None
        self._pixels: Iterator[Tensor | BadInput] | None = None
        self._threads: set[threading.Thread] = set()  # they talk to the processes
        _STREAMS.add(self)

    def begin(self, requests: Iterator[Request]) -> None:
        """Read `requests` from now on. Discards what was read ahead; the processes stay."""
        self._requests.iterator, self._pixels = requests, None

    def next(self) -> Tensor:
        """Return the next batch (B, C, H, W) uint8, in host memory.

        Raises BadInput if a file cannot be read, and RuntimeError if a process has died."""
        if self._loader is None:
            self._loader = self._make_loader()
        if self._pixels is None:
            with self._collect_threads():
                self._pixels = iter(self._loader)
        try:
            pixels: Tensor | BadInput | RuntimeError = next(self._pixels)
        except RuntimeError as error:  # usually, a process has died
            pixels = RuntimeError(str(error))  # its frames would keep the other processes alive
        if isinstance(pixels, BadInput | RuntimeError):
            raise pixels
        return pixels

    def close(self) -> None:
        """End the processes, and wait for them and for the threads that talk to them.

        Those threads release semaphores. If Python ended before they had, its resource tracker would warn
        about a missing semaphore."""
        with self._collect_threads():
            self._pixels = self._loader = None  # a DataLoader ends its processes when it is deleted
        until = time.monotonic() + MAX_THREAD_WAIT
        while self._threads:
            self._threads.pop().join(max(0, until - time.monotonic()))

    @contextmanager
    def _collect_threads(self) -> Iterator[None]:
        """Remember the threads that start within this context."""
        before = set(threading.enumerate())
        try:
            yield
        finally:
            self._threads |= set(threading.enumerate()) - before

    def _make_loader(self) -> DataLoader[Any]:
        """Return a DataLoader that reads the requests in spawned processes.

        A forked process would inherit locks held by threads that it lacks (of torch, CUDA and pinning). A
        process from a fork server has the server as its parent. It would outlive this process, or die before
        it when a whole job receives SIGTERM.

        A spawned process imports the module that Python was started with. A run executes in `python -m
        depthbench.execution.child`, which is small and starts nothing when it is imported. A user's script
        is never imported and needs no `if __name__ == "__main__"`."""
        return DataLoader(
            _Reader(self.x),
            batch_size=None,  # requests are batches already
            sampler=self._requests,
            num_workers=self.workers,
            multiprocessing_context="spawn",
            worker_init_fn=_leave_to_parent,
            persistent_workers=True,
            pin_memory=self.y.device.type == "cuda",
            generator=torch.Generator(),  # the default one also serves dropout
        )


class _Requests:
    """A sampler over the requests whose iterator can be replaced."""

    iterator: Iterator[Request]

    def __iter__(self) -> Iterator[Request]:
        return self.iterator


class _Reader(Dataset[Tensor | BadInput]):
    """The images, as a data set for the worker processes."""

    def __init__(self, x: Stored):
        self.x = x

    def __getitem__(self, request: Request) -> Tensor | BadInput:
        """Return the pixels (B, C, H, W) of a request, or a BadInput if an image cannot be read.

        The BadInput is returned because raising it here would show the user two tracebacks."""
        try:
            if isinstance(request, Crops):
                assert isinstance(self.x, Files)  # only they can be scaled
                return as_tensor(self.x.crop(request))
            pixels = self.x[request]
        except BadInput as error:
            return error
        return pixels if isinstance(pixels, Tensor) else as_tensor(pixels)  # (B, C, H, W) uint8


def stream_workers(x: Stored | np.ndarray) -> int:
    """Return the number of processes for a stream of `x`.

    It is at most the number of threads of the run, which is its share of the cores (execution/plan.py).
    Simultaneous runs therefore have no more processes than there are cores."""
    cores = torch.get_num_threads()
    return cores if isinstance(x, Files) else min(MAX_COPYING_WORKERS, cores)


def _leave_to_parent(worker: int) -> None:
    """Let the parent process decide when a worker process ends.

    Ctrl-C and a job's SIGTERM reach every process, but the parent may still need batches, so workers ignore
    them. A worker ends when the parent asks it to, or with the parent.

    A worker ends at once, without Python's cleanup, as a forked one does. During the cleanup, a thread that
    shares a batch would abort the process, and DataLoader would raise an error. The drawback is that a worker
    that fails has no exit code, so DataLoader notices it some seconds later."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    atexit.register(os._exit, 0)
    parent = multiprocessing.parent_process()
    assert parent is not None  # this runs in a worker process
    assert parent.pid is not None
    end_with_parent(0.0, parent.pid)


_STREAMS: weakref.WeakSet[Streamed] = weakref.WeakSet()


# Registered after the exit handler of multiprocessing, which waits for all processes, and so runs before it.
@atexit.register
def _close_all() -> None:
    for stream in list(_STREAMS):
        stream.close()
