"""End a process when its parent has died, even if the process hangs."""

import contextlib
import ctypes
import os
import select
import signal
import sys
import threading
import time
import warnings
from itertools import pairwise

POLL_SECONDS = 0.5
SAVING_SECONDS = 4.0  # time for a process to save its runs after its parent has died
PR_SET_PDEATHSIG = 1  # <sys/prctl.h>


def end_with_parent(grace: float, parent: int) -> None:
    """Kill this process `grace` seconds after its parent dies, with its group if it leads one.

    parent: the id of the parent, as the parent knows it. If it is dead already, this process is killed at
    once. Call this from the main thread, before anything slow. The thread of the parent that started this
    process must outlive it.

    On Linux, the kernel kills a process that has no grace and leads no group. A guard, which is another
    process, kills the others. Neither needs this process to respond. Elsewhere, and if the guard is killed, a
    thread of this process does it, which has to wait for calls that hold Python's interpreter lock."""
    leads = os.getpgrp() == os.getpid()
    if sys.platform == "linux" and not grace and not leads:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent died earlier
            os.kill(os.getpid(), signal.SIGKILL)
        return
    if os.getppid() != parent:
        _kill(os.getpid(), leads)
    if _start_guard(parent, grace, leads=leads):
        grace += POLL_SECONDS  # the thread acts only if the guard was killed
    watch = threading.Thread(target=_watch, args=(parent, grace), name="parent watcher", daemon=True)
    watch.start()


def _start_guard(parent: int, grace: float, *, leads: bool) -> bool:
    """Start the guard of this process. Return whether the system can do that."""
    target = os.getpid()
    try:
        watched = os.pidfd_open(parent), os.pidfd_open(target)
    except (AttributeError, OSError):  # macOS, an old kernel, or a container that forbids it
        return False
    with warnings.catch_warnings():  # Python 3.12 warns of threads, but the guard needs none of them
        warnings.simplefilter("ignore", DeprecationWarning)
        guard = os.fork()
    if guard == 0:
        try:
            _guard(target, watched, grace, leads=leads)
        finally:
            os._exit(0)
    for descriptor in watched:
        os.close(descriptor)
    return True


def _guard(target: int, watched: tuple[int, int], grace: float, *, leads: bool) -> None:
    """Kill `target` and its group `grace` seconds after the parent dies. Return if `target` ends before.

    watched: file descriptors of the parent and of `target`. Processes in the group of `target` that outlive
    it are killed too."""
    os.setpgid(0, 0)  # a signal to the group of `target` does not reach the guard
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    kept = sorted(watched)
    for first, last in pairwise([-1, *kept, os.sysconf("SC_OPEN_MAX")]):
        os.closerange(first + 1, last)  # a pipe that `target` holds must close when it ends
    poll = select.poll()
    for descriptor in watched:
        poll.register(descriptor, select.POLLIN)
    if watched[0] not in (descriptor for descriptor, _ in poll.poll()):
        return
    time.sleep(grace)
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(watched[1], signal.SIGKILL)
    if leads:
        _kill(target, leads)


def _watch(parent: int, grace: float) -> None:
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    time.sleep(grace)
    _kill(os.getpid(), os.getpgrp() == os.getpid())


def _kill(process: int, leads: bool) -> None:
    """Kill a process or, if it leads a group, the group. Does nothing if it has ended."""
    with contextlib.suppress(ProcessLookupError):
        (os.killpg if leads else os.kill)(process, signal.SIGKILL)
