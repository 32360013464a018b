import multiprocessing
import os
import signal
import time
from functools import partial

import pytest

from depthbench.report.copies import CopyDied, can_copy, in_copies

pytestmark = pytest.mark.skipif(not can_copy(), reason="processes are not copied on this system")


def test_results_are_in_order_and_some_calls_run_at_a_time(tmp_path):
    def call(index):
        (tmp_path / f"{index}").touch()
        time.sleep(0.02 * (index % 2))
        running = len(list(tmp_path.iterdir()))
        (tmp_path / f"{index}").unlink()
        return index, os.getpid(), running

    results = in_copies([partial(call, index) for index in range(5)], most=2)
    indices, processes, running = zip(*results, strict=True)
    assert indices == (0, 1, 2, 3, 4)
    assert len({os.getpid(), *processes}) == 6
    assert max(running) <= 2


def test_an_error_of_a_call_is_raised_and_ends_the_others():
    def fails():
        raise ValueError("a call failed")

    with pytest.raises(ValueError, match="a call failed"):
        in_copies([partial(time.sleep, 60), fails], most=2)
    assert multiprocessing.active_children() == []


def test_a_copy_that_is_killed_is_reported():
    with pytest.raises(CopyDied, match="was killed \\(exit code -9\\)"):
        in_copies([lambda: os.kill(os.getpid(), signal.SIGKILL)], most=2)


def test_ctrl_c_ends_the_copies():
    def press_ctrl_c():
        os.kill(os.getppid(), signal.SIGINT)
        time.sleep(60)

    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` ignores the signal
    try:
        with pytest.raises(KeyboardInterrupt):
            in_copies([press_ctrl_c], most=2)
    finally:
        signal.signal(signal.SIGINT, handler)
    assert multiprocessing.active_children() == []
