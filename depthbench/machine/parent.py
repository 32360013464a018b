"""End a process when its parent has died, whatever the process is doing."""

import os
import signal
import threading
import time

POLL_SECONDS = 0.5


def end_with_parent(grace: float) -> None:
    """Watch the parent in a thread. Once it has died, wait `grace` seconds and kill this process.

    A process that waits for its parent learns of the death by itself, and can end in that time. One whose
    step hangs cannot. Processes that it started die with it if it leads their group."""
    parent = os.getppid()
    threading.Thread(target=_watch, args=(parent, grace), name="parent watcher", daemon=True).start()


def _watch(parent: int, grace: float) -> None:
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    time.sleep(grace)
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
