"""End a process when its parent has died, even if the process hangs."""

import os
import signal
import threading
import time

POLL_SECONDS = 0.5


def end_with_parent(grace: float) -> None:
    """Watch the parent in a thread. Once it has died, wait `grace` seconds and kill this process.

    A process that waits for messages of its parent notices the death, and can end in that time. A process
    whose step hangs cannot. Processes that it started die with it if it leads their group. A call that holds
    Python's interpreter lock also stops this thread, so the process ends only after that call."""
    parent = os.getppid()
    threading.Thread(target=_watch, args=(parent, grace), name="parent watcher", daemon=True).start()


def _watch(parent: int, grace: float) -> None:
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    time.sleep(grace)
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
