"""What a person sees while runs train: bars in a terminal, plain lines elsewhere, or nothing."""

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from depthbench.console import LINE_SECONDS, say
from depthbench.machine.units import duration
from depthbench.study.model import Run


def outcome(run: Run, status: str, reason: str | None, record: dict[str, Any] | None) -> str:
    """One line: how a run ended."""
    name = f"{run.network}-{run.depth} seed {run.seed}"
    if status == "failed":
        return f"{name} failed: {reason}"
    final, timing = (record or {}).get("final", {}), (record or {}).get("timing", {})
    if status == "interrupted":
        step = (record or {}).get("step", 0)
        return f"{name} interrupted; " + (
            f"its state is kept at step {step}" if step else "no state of it is kept"
        )
    if status == "diverged":
        return f"{name} diverged by step {record['step']} (loss is not finite); counted at chance error"
    errors = f"train error {final['train_error_eval']:.2f} %, test error {final['test_error']:.2f} %"
    whole, evaluating = timing["seconds"], timing["evaluating_seconds"]
    share = f", {duration(evaluating)} of it evaluation" if evaluating > whole / 2 else ""
    return f"{name} done: {errors}, {duration(whole)}{share}"


class Silent:
    """Shows nothing. The other displays have the same methods."""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def begin(self, plan) -> None:
        """Before the first run."""

    def note(self, line: str) -> None:
        """Something that a person should know of the study."""

    def started(self, run: Run) -> None:
        """A run was given to a process."""

    def progress(self, run: Run, event: dict[str, Any]) -> None:
        """What training/loop.py reports: a logged row of a run in progress, a {"note"}, or a {"doing"}."""

    def ended(self, run: Run, status: str, reason: str | None, record: dict[str, Any] | None) -> None:
        """A run ended; `record` is its run.json where there is one."""

    def stopping(self) -> None:
        """After the first Ctrl-C, while runs keep their state."""

    def tick(self) -> None:
        """Now and then."""


class _Clock:
    """How much of the study is done, a step of a deep network counting for more, and the time left."""

    def __init__(self, plan):
        self.started = self.seen = time.monotonic()
        self.total = sum(run.depth * run.steps for run in plan.todo)
        self.steps: dict[str, float] = {}
        self.before: dict[str, float] = {}  # of these, what a resumed run had made already

    def see(self, run: Run, step: int, first_step: int) -> None:
        self.steps[run.run_id] = run.depth * step
        self.before[run.run_id] = run.depth * first_step
        self.seen = time.monotonic()

    def finish(self, run: Run) -> None:
        """It ended, be it early: nothing of it is left."""
        self.steps[run.run_id] = run.depth * run.steps
        self.before.setdefault(run.run_id, self.steps[run.run_id])
        self.seen = time.monotonic()

    @property
    def left(self) -> str:
        made = sum(self.steps.values()) - sum(self.before.values())
        rest = self.total - sum(self.steps.values())
        elapsed = self.seen - self.started  # until it was known: a run that evaluates makes no steps
        return f"about {duration(elapsed * rest / made)} left" if made > 0 else "estimating"


class Lines(Silent):
    """Plain lines, for a file or a pipe: each run's start and end, and every few seconds how far it is."""

    def __init__(self, console: Console):
        self.console = console

    def begin(self, plan) -> None:
        self.clock, self.done, self.total = _Clock(plan), 0, len(plan.todo)
        self.current: dict[str, str] = {}
        self.last = time.monotonic()

    def started(self, run: Run) -> None:
        self.current[run.run_id] = f"{run.network}-{run.depth} seed {run.seed} starting"

    def progress(self, run: Run, event: dict[str, Any]) -> None:
        if "note" in event:
            self._say(f"{run.run_id}: {event['note']}")
            return
        if "doing" in event:
            self.current[run.run_id] = f"{run.network}-{run.depth} seed {run.seed} {event['doing']}"
            return
        self.clock.see(run, event["step"], event["first_step"])
        self.current[run.run_id] = (
            f"{run.network}-{run.depth} seed {run.seed} step {event['step']}/{event['steps']} "
            f"loss {event['loss']:.3f} train error {event['train_error']:.1f} % "
            f"{event['images_per_second']:.0f} images/s"
        )

    def ended(self, run, status, reason, record) -> None:
        self.current.pop(run.run_id, None)
        if status in ("done", "diverged", "failed"):
            self.done += 1
            self.clock.finish(run)
        self._say(f"[{self.done}/{self.total}] {outcome(run, status, reason, record)}")

    def note(self, line: str) -> None:
        self._say(line)

    def stopping(self) -> None:
        self._say(
            "stopping: each run keeps its state (Ctrl-C again stops at once, with what was kept before)"
        )

    def tick(self) -> None:
        if time.monotonic() - self.last < LINE_SECONDS or not self.current:
            return
        self._say(f"[{self.done}/{self.total}] {'; '.join(self.current.values())}; {self.clock.left}")

    def _say(self, line: str) -> None:
        self.last = time.monotonic()
        say(self.console, line)


class Bars(Lines):
    """A bar for the study and one for each run in progress; finished runs stay above as lines."""

    def __init__(self, console: Console):
        super().__init__(console)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=20 if console.width >= 100 else 6),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[detail]}"),
        )
        self.bars = Progress(*columns, console=console, transient=True, expand=False)
        self.tasks: dict[str, TaskID] = {}

    def __enter__(self):
        self.bars.start()
        return self

    def __exit__(self, *error):
        self.bars.stop()

    def begin(self, plan) -> None:
        super().begin(plan)
        for task in self.bars.task_ids:  # of an earlier round of a search
            self.bars.remove_task(task)
        self.tasks.clear()
        self.whole = self.bars.add_task("all runs", total=self.clock.total, detail="starting")

    def started(self, run: Run) -> None:
        name = f"{run.network}-{run.depth} s{run.seed}"
        if run.run_id in self.tasks:  # it starts again, in another process
            self.bars.remove_task(self.tasks[run.run_id])
        self.tasks[run.run_id] = self.bars.add_task(name, total=run.steps, detail="starting")

    def progress(self, run: Run, event: dict[str, Any]) -> None:
        super().progress(run, event)
        if "doing" in event:
            self.bars.update(self.tasks[run.run_id], detail=event["doing"])
        if "note" in event or "doing" in event:
            return
        left = (event["steps"] - event["step"]) * run.recipe.batch_size / event["images_per_second"]
        detail = (  # fits a terminal of 80 columns
            f"{event['step']}/{event['steps']} loss {event['loss']:.2f} error {event['train_error']:.1f} % "
            f"{event['images_per_second']:.0f} img/s {duration(left)}"
        )
        self.bars.update(self.tasks[run.run_id], completed=event["step"], detail=detail)

    def ended(self, run, status, reason, record) -> None:
        super().ended(run, status, reason, record)
        task = self.tasks.pop(run.run_id, None)
        if task is not None:
            self.bars.remove_task(task)

    def tick(self) -> None:
        done = sum(self.clock.steps.values())
        detail = f"{self.done}/{self.total} done, {self.clock.left}"
        self.bars.update(self.whole, completed=done, detail=detail)
