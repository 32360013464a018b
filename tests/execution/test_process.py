import os
import signal

import pytest

from depthbench.execution import process
from depthbench.execution.process import NO_WARNING, Process
from tests.processes import is_alive

MODULE = "depthbench.execution.worker"  # it waits for a message before it imports torch

pytestmark = pytest.mark.real_processes


@pytest.mark.slow
def test_a_process_ends_by_itself_when_its_pipe_is_closed(capfd):
    started = Process(MODULE, threads=1)
    started.end()
    assert started.exited_normally
    assert started.cause_of_death() == "its process ended with exit code 0"
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_a_process_that_does_not_end_is_killed(monkeypatch):
    monkeypatch.setattr(process, "END_TIMEOUT", 0.1)
    hanging = Process(MODULE, threads=1)
    pid = hanging._popen.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        hanging.end()
        assert not is_alive(pid)
        assert not hanging.exited_normally
    finally:
        hanging.kill()


class Dead:
    """A process that died as soon as it was started."""

    code = 0
    options = None

    def __init__(self, command, **options):
        Dead.options = options
        self.returncode = self.code

    def wait(self, timeout=None):
        return self.code


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        (3, "its process ended with exit code 3"),
        (-signal.SIGKILL, "its process was killed (SIGKILL; out of memory?)"),
        (-signal.SIGSEGV, "its process was killed (SIGSEGV)"),
    ],
)
def test_the_parent_of_a_dead_process_learns_how_it_ended(monkeypatch, code, cause):
    monkeypatch.setattr(Dead, "code", code)
    monkeypatch.setattr(process, "Popen", Dead)
    dead = Process(MODULE, threads=1)
    dead.send("a message")  # raises nothing
    assert dead.connection.poll(5)
    with pytest.raises((EOFError, OSError)):
        dead.receive()
    assert dead.cause_of_death() == cause
    assert not dead.exited_normally


@pytest.mark.parametrize(("before", "after"), [(None, NO_WARNING), ("error", f"error,{NO_WARNING}")])
def test_warning_filters_of_the_user_are_kept(monkeypatch, before, after):
    monkeypatch.delenv("PYTHONWARNINGS", raising=False)
    if before:
        monkeypatch.setenv("PYTHONWARNINGS", before)
    monkeypatch.setattr(process, "Popen", Dead)
    Process(MODULE, threads=1)
    assert Dead.options["env"]["PYTHONWARNINGS"] == after
