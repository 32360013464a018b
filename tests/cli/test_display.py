import io
import math

import pytest
from rich.console import Console

from depthbench.cli import display
from depthbench.cli.display import Bars, Lines, outcome
from depthbench.events import (
    Activity,
    Alive,
    Note,
    Progressed,
    RowLogged,
    RunEnded,
    RunStarted,
    RunWaiting,
    StudyStarted,
)
from depthbench.store.record import Final, Record, Timing

FINAL = Final(train_error_eval=12.345, test_error=20.0)
TIMING = Timing(seconds=3.2, evaluating_seconds=1.0)


def row(run, step):
    return RowLogged(
        run,
        step=step,
        steps=12,
        first_step=0,
        loss=2.5,
        train_error=90.0,
        test_error=math.nan,
        images_per_second=40.0,
    )


def ended(run, status="done", **facts):
    return RunEnded(run, Record.of(run, final=FINAL, **{"timing": TIMING} | facts).changed(status=status))


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200, force_terminal=False)


@pytest.fixture
def runs(tiny):
    return tuple(tiny().runs())


@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [
        ("done", None, "plain-8 seed 0 done: train error 12.35 %, test error 20.00 %, 3 s"),
        ("diverged", None, "plain-8 seed 0 diverged by step 7"),
        ("interrupted", None, "plain-8 seed 0 interrupted, saved at step 7"),
        ("failed", "out of memory", "plain-8 seed 0 failed: out of memory"),
    ],
)
def test_outcomes(tiny, status, reason, expected):
    assert outcome(ended(next(tiny().runs()), status, reason=reason, step=7)).startswith(expected)


def test_a_run_that_saved_nothing_says_so(tiny):
    run = next(tiny().runs())
    assert outcome(RunEnded(run, Record.of(run))) == "plain-8 seed 0 interrupted, nothing saved"


def test_a_run_that_was_mostly_evaluation_says_so(tiny):
    def line(evaluating):
        timing = Timing(seconds=67.0, evaluating_seconds=evaluating)
        return outcome(ended(next(tiny().runs()), timing=timing))

    assert line(58.0).endswith(" 20.00 %, 1 min 7 s (58 s of it for evaluations)")
    assert line(33.0).endswith(" 20.00 %, 1 min 7 s")


def progressed(run, step, *, seconds, left, first_step=0):
    return Progressed(run, step=step, first_step=first_step, seconds=seconds, seconds_left=left)


def test_lines_report_each_end_and_regular_progress(runs, console, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(display.time, "monotonic", lambda: now[0])
    first, second = runs
    lines = Lines(console)
    with lines:
        lines.show(StudyStarted(runs, jobs=1, lanes=1, threads=1))
        lines.show(RunStarted(first))
        now[0] += 5
        lines.show(row(first, 6))
        lines.show(progressed(first, 6, seconds=5, left=5))
        lines.tick()  # too early for a line
        now[0] += 10
        lines.tick()
        lines.show(Note("checkpoint.pt cannot be read", first))
        lines.show(Activity(first, "test images noisy, 8"))
        now[0] += 10
        lines.tick()
        lines.show(ended(first))
        lines.show(RunStarted(second))
        lines.show(ended(second, "failed", reason="boom"))
        lines.show(Note("lanes were measured"))
    printed = console.file.getvalue().splitlines()
    assert printed == [
        "[0/2] plain-8 seed 0 step 6/12, loss 2.500, train error 90.0 %, 40 images/s; about 10 s left",
        f"{first.run_id}: checkpoint.pt cannot be read",
        "[0/2] plain-8 seed 0 test images noisy, 8; about 10 s left",
        "[1/2] plain-8 seed 0 done: train error 12.35 %, test error 20.00 %, 3 s",
        "[2/2] resnet-8 seed 0 failed: boom",
        "lanes were measured",
    ]


def test_a_run_that_waits_for_a_free_node_does_not_count_as_one_without_progress(runs, console, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(display.time, "monotonic", lambda: now[0])
    lines = Lines(console)
    lines.show(StudyStarted(runs, jobs=1, lanes=1, threads=1))
    lines.show(RunStarted(runs[0]))
    lines.show(Alive(runs[0], 3, longest_step=1.0))
    lines.show(RunWaiting(runs[0]))
    now[0] += 1000
    lines.tick()
    printed = console.file.getvalue().splitlines()
    assert printed == ["[0/2] plain-8 seed 0 waiting to start again; time left not known yet"]


@pytest.fixture
def clock_of(tiny, monkeypatch):
    """Return a function that makes a clock at 0 s for runs of depths 20 and 8, and the runs of plain."""
    monkeypatch.setattr(display.time, "monotonic", lambda: 0.0)
    runs = sorted(tiny(grid={"depth": [8, 20]}).runs(), key=lambda run: -run.depth)

    def make(jobs):
        return display._Clock(runs, jobs), [run for run in runs if run.network == "plain"]

    return make


def test_waiting_runs_take_as_long_as_the_others_of_their_network_by_depth(clock_of, monkeypatch):
    clock, (deep, shallow) = clock_of(jobs=1)
    assert clock.left == "time left not known yet"
    clock.start(deep)
    clock.see(progressed(deep, 3, seconds=5, left=15))  # 20 s at depth 20, so 8 s at depth 8
    assert clock.left == "about 51 s left"  # 15 + 20 + 8 + 8
    clock.finish(deep)
    clock.start(shallow)
    clock.see(progressed(shallow, 6, seconds=2, left=2))
    monkeypatch.setattr(display.time, "monotonic", lambda: 1.0)
    assert clock.left_of(shallow) == 1
    monkeypatch.setattr(display.time, "monotonic", lambda: 9.0)  # it takes longer than expected
    assert clock.left_of(shallow) == 0


def test_a_run_that_does_nothing_is_named_instead_of_the_time_left(clock_of, monkeypatch):
    clock, (deep, shallow) = clock_of(jobs=2)
    for run, longest in ((deep, 20.0), (shallow, 1.0)):
        clock.start(run)
        clock.see(progressed(run, 3, seconds=5, left=99))
        clock.see_alive(Alive(run, 3, longest_step=longest))

    def left_at(now):
        monkeypatch.setattr(display.time, "monotonic", lambda: now)
        return clock.left

    assert "left" in left_at(9.0)
    assert left_at(12.0) == "plain-8 seed 0: no progress for 12 s"
    clock.finish(shallow)
    assert "left" in left_at(39.0)
    assert left_at(41.0) == "plain-20 seed 0: no progress for 41 s"
    clock.start(deep)  # in another process
    assert "left" in left_at(42.0)


def test_the_time_left_ends_with_the_last_of_several_jobs(clock_of):
    clock, (deep, _) = clock_of(jobs=4)
    clock.see(progressed(deep, 3, seconds=5, left=15))
    assert clock.left == "about 20 s left"  # the other run of 20 layers has not started


def test_the_time_left_excludes_the_steps_before_a_resume(clock_of):
    clock, (deep, _) = clock_of(jobs=1)
    clock.see(progressed(deep, 9, seconds=1, left=3, first_step=8))  # 4 s for 4 steps
    assert clock.left == "about 25 s left"  # 3 + 12 + 2 * 4.8


def test_bars_show_each_run_in_progress(runs):
    console = Console(file=io.StringIO(), width=160, force_terminal=True)
    first, second = runs
    with Bars(console) as bars:
        bars.show(StudyStarted(runs, jobs=1, lanes=1, threads=1))
        bars.show(RunStarted(first))
        bars.show(RunStarted(second))
        bars.show(row(first, 6))
        bars.show(progressed(first, 6, seconds=5, left=7))
        bars.tick()
        bars.bars.refresh()
        shown = {task.description: (task.completed, task.total) for task in bars.bars.tasks}
        assert shown == {"all runs": (48, 192), "plain-8 s0": (6, 12), "resnet-8 s0": (0, 12)}
        bars.show(Activity(first, "10 crops of the test images"))
        assert bars.bars.tasks[1].fields["detail"] == "10 crops of the test images"
        bars.show(RunWaiting(first))
        assert bars.bars.tasks[1].fields["detail"] == "waiting to start again"
        bars.show(ended(first))
        assert len(bars.bars.tasks) == 2
    assert "plain-8 seed 0 done" in console.file.getvalue()
    assert "loss 2.50 error 90.0 % 40 img/s 7 s" in console.file.getvalue()
