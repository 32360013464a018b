import ctypes
import multiprocessing
import os
import signal
import time

import pytest

from depthbench.machine import parent
from tests.processes import SERVER, is_alive

FORK = multiprocessing.get_context("fork")
GRACE = 0.3


def hold_the_interpreter():
    """Sleep in a call that keeps Python's interpreter lock, as the import of a large library does."""
    ctypes.PyDLL(None).sleep(60)


def watched(started, parent_id, hang, *, grace, leads):
    """Start a process that its parent's death kills, and a child of it. Send the ids of both."""
    if leads:
        os.setpgid(0, 0)
    parent.POLL_SECONDS = 0.05
    parent.end_with_parent(grace, parent_id)
    child = FORK.Process(target=time.sleep, args=(60,))
    child.start()
    started.send((os.getpid(), child.pid))
    hang()


def sleep():
    time.sleep(60)


def middle(started, hang, settings):
    FORK.Process(target=watched, args=(started, os.getpid(), hang), kwargs=settings).start()
    time.sleep(60)


def start(hang, **settings):
    """Return the middle process, and the ids of the process that watches it and of a child."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = SERVER.Process(target=middle, args=(sender, hang, settings))
    process.start()
    sender.close()
    assert receiver.poll(60)
    return process, *receiver.recv()


def wait_for_death(*pids, seconds=5.0):
    deadline = time.monotonic() + seconds
    while any(map(is_alive, pids)):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("hang", [sleep, hold_the_interpreter])
@pytest.mark.parametrize("grace", [0.0, GRACE])
@pytest.mark.parametrize("leads", [True, False])
def test_a_process_that_hangs_dies_after_its_parent_with_the_group_that_it_leads(leads, grace, hang):
    process, pid, child = start(hang, grace=grace, leads=leads)
    time.sleep(0.2)
    assert is_alive(pid)  # while its parent lives
    process.kill()
    process.join()
    killed = time.monotonic()
    wait_for_death(pid, *([child] if leads else []))
    assert time.monotonic() - killed > grace - 0.05
    if not leads:  # it must not kill processes that it did not start
        assert is_alive(child)
        os.kill(child, signal.SIGKILL)


def test_without_pidfds_a_thread_watches(monkeypatch):
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    receiver, sender = multiprocessing.Pipe(duplex=False)
    settings = {"grace": GRACE, "leads": True}
    process = FORK.Process(target=middle, args=(sender, sleep, settings))
    process.start()
    pid, child = receiver.recv()
    process.kill()
    process.join()
    wait_for_death(pid, child)


def test_a_process_whose_guard_is_killed_still_dies_after_its_parent():
    process, pid, child = start(sleep, grace=GRACE, leads=True)
    guard = min(guards_of(pid))  # it was started before the child
    os.kill(guard, signal.SIGKILL)
    time.sleep(0.2)
    assert is_alive(pid)
    process.kill()
    process.join()
    wait_for_death(pid, child)


def outlive(started, settings):
    """Die before the new process watches this one."""
    FORK.Process(target=late, args=(started, os.getpid()), kwargs=settings).start()
    os._exit(0)


def late(started, parent_id, *, grace, leads):
    while os.getppid() == parent_id:
        time.sleep(0.01)
    started.send(os.getpid())
    watched(started, parent_id, sleep, grace=grace, leads=leads)


@pytest.mark.parametrize("grace", [0.0, GRACE])
@pytest.mark.parametrize("leads", [True, False])
def test_a_process_whose_parent_is_dead_before_it_watches_dies_at_once(leads, grace):
    receiver, sender = multiprocessing.Pipe(duplex=False)
    SERVER.Process(target=outlive, args=(sender, {"grace": grace, "leads": leads})).start()
    sender.close()
    wait_for_death(receiver.recv())
    with pytest.raises(EOFError):
        receiver.recv()  # it died before it sent more


def guarded(started):
    os.setpgid(0, 0)
    parent.end_with_parent(GRACE, os.getppid())
    started.send(os.getpid())
    time.sleep(0.5)  # until the guard has closed its copies of the pipe
    os._exit(0)


def test_the_guard_ends_with_its_process_and_holds_no_pipe_of_it():
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = FORK.Process(target=guarded, args=(sender,))
    process.start()
    sender.close()
    (guard,) = guards_of(receiver.recv())
    with pytest.raises(EOFError):
        receiver.recv()
    process.join()
    wait_for_death(guard)


def guards_of(pid):
    import psutil

    return [process.pid for process in psutil.Process(pid).children()]
