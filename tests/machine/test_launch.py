import subprocess
import sys

import pytest

from depthbench.machine import launch
from depthbench.machine.launch import Launch, read_launch, thread_limit

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "none",
    "RANK": "5",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "4",
}


@pytest.fixture
def start(monkeypatch):
    """Set the variables of a start by torchrun, and others."""

    def set_variables(**others):
        for name, value in {**TORCHRUN, **others}.items():
            monkeypatch.setenv(name, value)

    return set_variables


def test_a_process_is_alone_unless_torchrun_started_it(monkeypatch):
    assert read_launch() == Launch()
    assert read_launch().is_alone
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):  # as other launchers set them
        monkeypatch.setenv(name, "3")
    assert read_launch().is_alone


def test_torchrun_says_where_a_process_is(start):
    start()
    assert read_launch() == Launch(rank=5, size=8, local_rank=1, local_size=4)


def test_a_limit_of_threads_is_the_users_unless_torchrun_set_it(start, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert thread_limit() == 1  # not started by torchrun
    start()
    monkeypatch.setattr(launch, "_parent_has", lambda name: False)
    assert thread_limit() is None
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert thread_limit() == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(launch, "_parent_has", lambda name: True)
    assert thread_limit() == 1
    start(LOCAL_WORLD_SIZE="1")  # torchrun sets it only if several processes share the machine
    monkeypatch.setattr(launch, "_parent_has", lambda name: False)
    assert thread_limit() == 1
    for text in ("", "many", "0"):
        monkeypatch.setenv("OMP_NUM_THREADS", text)
        assert thread_limit() is None


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_variables_of_the_parent_are_those_it_was_started_with():
    """The child asks for a variable that its parent had from the start, and for one that it set itself."""
    child = "from depthbench.machine.launch import _parent_has as has; print(has('FIRST'), has('LATER'))"
    parent = (
        "import os, subprocess, sys; os.environ['LATER'] = '1'; "
        f"subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    )
    environment = {"FIRST": "1", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", parent], env=environment, check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == ["True", "False"]
