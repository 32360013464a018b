import io
import threading
import time

import pytest
from rich.console import Console

from depthbench import console as console_module
from depthbench.console import counting, say, saying


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200, force_terminal=False)


def test_long_work_prints_a_line_and_an_immediate_error_does_not(console, monkeypatch):
    monkeypatch.setattr(console_module, "STATUS_DELAY", 0.01)
    with saying(console, "drawing"):
        deadline = time.monotonic() + 10
        while not console.file.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
    assert console.file.getvalue() == "drawing\n"
    monkeypatch.setattr(console_module, "STATUS_DELAY", 60)
    with pytest.raises(ValueError, match="bad"), saying(console, "again"):
        raise ValueError("bad")
    assert console.file.getvalue() == "drawing\n"
    for timer in (thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)):
        timer.join(10)
        assert not timer.is_alive()  # otherwise it could still print its line


def test_the_activity_is_printed_before_the_first_count(console, monkeypatch):
    monkeypatch.setattr(console_module, "STATUS_DELAY", 0.01)
    monkeypatch.setattr(console_module, "LINE_SECONDS", 0)
    with counting(console, "preparing", "reading the images") as show:
        deadline = time.monotonic() + 10
        while not console.file.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
        show(3, 8)
    assert console.file.getvalue() == "preparing\nreading the images: 3 of 8\n"


def test_a_line_cannot_act_on_the_terminal(console):
    say(console, "study [red]caf\udce9 \x1b[2J")
    assert console.file.getvalue() == "study [red]caf\ufffd \ufffd[2J\n"
