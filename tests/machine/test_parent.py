import multiprocessing
import os
import signal
import time

import pytest

from depthbench.machine import parent
from tests.processes import SERVER, is_alive


def watched(started, *, leads):
    """Start a process that its parent's death kills, and a child of it. Send the ids of both."""
    if leads:
        os.setpgid(0, 0)
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    parent.POLL_SECONDS = 0.05
    parent.end_with_parent(0.1)
    child.start()
    started.send((os.getpid(), child.pid))
    time.sleep(60)


def middle(started, leads):
    watched_process = multiprocessing.get_context("fork").Process(
        target=watched, args=(started,), kwargs={"leads": leads}
    )
    watched_process.start()
    time.sleep(60)


@pytest.mark.parametrize("leads", [True, False])
def test_a_sleeping_process_dies_soon_after_its_parent_with_its_group(leads):
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = SERVER.Process(target=middle, args=(sender, leads))
    process.start()
    pid, child = receiver.recv()
    time.sleep(0.2)
    assert is_alive(pid)  # while its parent lives
    process.kill()
    process.join()
    deadline = time.monotonic() + 5
    while is_alive(pid) or (leads and is_alive(child)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    if not leads:  # it must not kill processes that it did not start
        assert is_alive(child)
        os.kill(child, signal.SIGKILL)
