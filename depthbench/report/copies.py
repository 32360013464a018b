"""Calls in forked copies of this process, which share the memory of the loaded results."""

import gc
import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import BrokenExecutor
from multiprocessing.connection import Connection, wait
from multiprocessing.pool import ExceptionWithTraceback  # type: ignore[attr-defined]
from typing import Any

from depthbench.machine.memory import release
from depthbench.machine.parent import end_with_parent

Result = tuple[bool, Any]  # whether the call returned, and what it returned or raised


class CopyDied(BrokenExecutor):
    """A copy ended without a result. The system may have killed it, because memory was short."""


def can_copy() -> bool:
    """Return whether this process can be copied. On other systems than Linux, a copy may crash."""
    return sys.platform == "linux" and not multiprocessing.current_process().daemon


def in_copies(calls: Iterable[Callable[[], Any]], most: int) -> list[Any]:
    """Return the results of `calls`, in order. Each is made in a new copy, and `most` run at a time.

    The memory that a call takes is free after it. Raises what a call raises, and CopyDied if a copy is
    killed. The other copies then end. All copies end if this process is killed."""
    release()
    context = multiprocessing.get_context("fork")
    results: dict[int, Any] = {}
    running: dict[Connection, tuple[int, Any]] = {}

    def collect() -> None:
        for receiver in wait(list(running)):
            assert isinstance(receiver, Connection)
            index, process = running[receiver]
            try:
                has_returned, result = receiver.recv()
            except (EOFError, OSError):  # the second if it was killed while it sent
                process.join()
                raise CopyDied(f"a process was killed (exit code {process.exitcode})") from None
            if not has_returned:
                raise result
            results[index] = result
            process.join()
            del running[receiver]

    try:
        for index, call in enumerate(calls):
            if len(running) == most:
                collect()
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=_call, args=(call, sender, os.getpid()), daemon=True)
            with warnings.catch_warnings():  # Python 3.12 warns of threads, but a copy needs none of them
                warnings.simplefilter("ignore", DeprecationWarning)
                process.start()
            sender.close()  # so that it is closed if the copy is killed
            running[receiver] = (index, process)
        while running:
            collect()
    finally:
        for _, process in running.values():
            process.kill()
            process.join()
    return [results[index] for index in sorted(results)]


def _call(call: Callable[[], Any], sender: Connection, parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the original, which ends its copies
    end_with_parent(0.0, parent)
    gc.freeze()  # a garbage collection would copy the memory that is shared with the original
    try:
        result: Result = (True, call())
    except Exception as error:
        result = (False, ExceptionWithTraceback(error, error.__traceback__))
    sender.send(result)
