import io
import threading
import time
from types import SimpleNamespace

import pytest
from rich.console import Console

from depthbench.cli import display as progress
from depthbench.cli.display import Bars, Lines, outcome
from depthbench.machine.units import duration

FINAL = {"train_error_eval": 12.345, "test_error": 20.0}


def event(step, **more):
    return {
        "step": step,
        "steps": 12,
        "first_step": 0,
        "loss": 2.5,
        "train_error": 90.0,
        "images_per_second": 40.0,
    } | more


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200, force_terminal=False)


@pytest.fixture
def plan(tiny):
    return SimpleNamespace(todo=tuple(tiny().runs()))


def test_what_takes_long_is_said_and_what_fails_at_once_is_not(console, monkeypatch):
    monkeypatch.setattr(progress, "SOON", 0.01)
    with progress.saying(console, "drawing"):
        deadline = time.monotonic() + 10
        while not console.file.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
    assert console.file.getvalue() == "drawing\n"
    monkeypatch.setattr(progress, "SOON", 60)
    with pytest.raises(ValueError, match="bad"), progress.saying(console, "again"):
        raise ValueError("bad")
    assert console.file.getvalue() == "drawing\n"
    for timer in (thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)):
        timer.join(10)
        assert not timer.is_alive()  # it would say it yet


def test_what_is_counted_is_said_before_the_first_of_them(console, monkeypatch):
    monkeypatch.setattr(progress, "SOON", 0.01)
    monkeypatch.setattr(progress, "LINE_SECONDS", 0)
    with progress.counting(console, "preparing", "reading the images") as tell:
        deadline = time.monotonic() + 10
        while not console.file.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
        tell(3, 8)
    assert console.file.getvalue() == "preparing\nreading the images: 3 of 8\n"


def test_durations_are_words():
    assert [duration(s) for s in (0.4, 59.6, 75, 3600, 90_061)] == [
        "0 s", "1 min 0 s", "1 min 15 s", "1 h 0 min", "25 h 1 min"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [
        ("done", None, "plain-8 seed 0 done: train error 12.35 %, test error 20.00 %, 3 s"),
        ("diverged", None, "plain-8 seed 0 diverged by step 7"),
        ("interrupted", None, "plain-8 seed 0 interrupted; its state is kept at step 7"),
        ("failed", "out of memory", "plain-8 seed 0 failed: out of memory"),
    ],
)
def test_outcomes(tiny, status, reason, expected):
    record = {"final": FINAL, "timing": {"seconds": 3.2, "evaluating_seconds": 1.0}, "step": 7}
    assert outcome(next(tiny().runs()), status, reason, record).startswith(expected)


def test_a_run_that_was_mostly_evaluation_says_so(tiny):
    def line(evaluating):
        timing = {"seconds": 67.0, "evaluating_seconds": evaluating}
        return outcome(next(tiny().runs()), "done", None, {"final": FINAL, "timing": timing})

    assert line(58.0).endswith(" 20.00 %, 1 min 7 s, 58 s of it evaluation")
    assert line(33.0).endswith(" 20.00 %, 1 min 7 s")


def test_lines_tell_each_end_and_now_and_then_how_far_it_is(plan, console, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    first, second = plan.todo
    lines = Lines(console)
    with lines:
        lines.begin(plan)
        lines.started(first)
        now[0] += 5
        lines.progress(first, event(6))
        lines.tick()  # too soon to say anything
        now[0] += 10
        lines.tick()
        lines.progress(first, {"note": "checkpoint.pt cannot be read"})
        lines.progress(first, {"doing": "test images noisy, 8"})
        now[0] += 10
        lines.tick()
        lines.ended(first, "done", None, {"final": FINAL, "timing": {"seconds": 3, "evaluating_seconds": 1}})
        lines.started(second)
        lines.ended(second, "failed", "boom", None)
    printed = console.file.getvalue().splitlines()
    assert printed == [
        "[0/2] plain-8 seed 0 step 6/12 loss 2.500 train error 90.0 % 40 images/s; about 15 s left",
        f"{first.run_id}: checkpoint.pt cannot be read",
        "[0/2] plain-8 seed 0 test images noisy, 8; about 15 s left",
        "[1/2] plain-8 seed 0 done: train error 12.35 %, test error 20.00 %, 3 s",
        "[2/2] resnet-8 seed 0 failed: boom",
    ]


def test_the_time_left_does_not_count_what_a_resumed_run_had_made(plan, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    clock = progress._Clock(plan)
    now[0] = 10.0  # one step in 10 s: 3 and 12 are left
    clock.see(plan.todo[0], step=9, first_step=8)
    now[0] = 100.0  # it evaluates, say
    assert clock.left == "about 2 min 30 s left"


def test_bars_show_each_run_in_progress(plan):
    console = Console(file=io.StringIO(), width=160, force_terminal=True)
    first, second = plan.todo
    with Bars(console) as bars:
        bars.begin(plan)
        bars.started(first)
        bars.started(second)
        bars.progress(first, event(6))
        bars.tick()
        bars.bars.refresh()
        shown = {task.description: (task.completed, task.total) for task in bars.bars.tasks}
        assert shown == {"all runs": (48, 192), "plain-8 s0": (6, 12), "resnet-8 s0": (0, 12)}
        bars.progress(first, {"doing": "10 crops of the test images"})
        assert bars.bars.tasks[1].fields["detail"] == "10 crops of the test images"
        bars.ended(first, "done", None, {"final": FINAL, "timing": {"seconds": 3, "evaluating_seconds": 1}})
        assert len(bars.bars.tasks) == 2
    assert "plain-8 seed 0 done" in console.file.getvalue()
    assert "loss 2.50 error 90.0 % 40 img/s" in console.file.getvalue()
