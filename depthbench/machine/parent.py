"""End a process when its parent has died, even if it never looks at its parent."""

import os
import signal
import threading
import time

POLL_SECONDS = 0.5


def end_with_parent(grace: float) -> None:
    """Watch the parent in a thread. Once it has died, wait `grace` seconds and kill this process.

    A process that waits for its parent learns of the death by itself, and can end in that time. One whose
    step hangs cannot. Processes that it started die with it if it leads their group. A call that holds
    Python's interpreter lock also stops this thread: then nothing ends before that call."""
    parent = os.getppid()
    threading.Thread(target=_watch, args=(parent, grace), name="parent watcher", daemon=True).start()


def _watch(parent: int, grace: float) -> None:
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    time.sleep(grace)
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
