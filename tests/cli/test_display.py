import io
import math

import pytest
from rich.console import Console

from depthbench.cli import display
from depthbench.cli.display import Bars, Lines, outcome
from depthbench.events import Activity, Note, RowLogged, RunEnded, RunStarted, StudyStarted
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
        "[0/2] plain-8 seed 0 step 6/12, loss 2.500, train error 90.0 %, 40 images/s; about 15 s left",
        f"{first.run_id}: checkpoint.pt cannot be read",
        "[0/2] plain-8 seed 0 test images noisy, 8; about 15 s left",
        "[1/2] plain-8 seed 0 done: train error 12.35 %, test error 20.00 %, 3 s",
        "[2/2] resnet-8 seed 0 failed: boom",
        "lanes were measured",
    ]


def test_the_time_left_excludes_the_steps_before_a_resume(runs, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(display.time, "monotonic", lambda: now[0])
    clock = display._Clock(runs)
    now[0] = 10.0  # one step in 10 s; 3 and 12 steps are left
    clock.see(runs[0], step=9, first_step=8)
    now[0] = 100.0  # for example, an evaluation
    assert clock.left == "about 2 min 30 s left"


def test_bars_show_each_run_in_progress(runs):
    console = Console(file=io.StringIO(), width=160, force_terminal=True)
    first, second = runs
    with Bars(console) as bars:
        bars.show(StudyStarted(runs, jobs=1, lanes=1, threads=1))
        bars.show(RunStarted(first))
        bars.show(RunStarted(second))
        bars.show(row(first, 6))
        bars.tick()
        bars.bars.refresh()
        shown = {task.description: (task.completed, task.total) for task in bars.bars.tasks}
        assert shown == {"all runs": (48, 192), "plain-8 s0": (6, 12), "resnet-8 s0": (0, 12)}
        bars.show(Activity(first, "10 crops of the test images"))
        assert bars.bars.tasks[1].fields["detail"] == "10 crops of the test images"
        bars.show(ended(first))
        assert len(bars.bars.tasks) == 2
    assert "plain-8 seed 0 done" in console.file.getvalue()
    assert "loss 2.50 error 90.0 % 40 img/s" in console.file.getvalue()
