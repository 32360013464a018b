"""Displays of progress: bars in a terminal, and plain lines in a file or a pipe."""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from depthbench.console import LINE_SECONDS, say
from depthbench.events import (
    Activity,
    Display,
    Event,
    Note,
    RowLogged,
    RunEnded,
    RunStarted,
    Silent,
    Stopping,
    StudyStarted,
)
from depthbench.machine.units import duration
from depthbench.study.model import Run


def choose_display(console: Console, quiet: bool) -> Display:
    """Return bars for a terminal, lines elsewhere, or nothing for a quiet command."""
    if quiet:
        return Silent()
    return Bars(console) if console.is_terminal else Lines(console)


def outcome(ended: RunEnded) -> str:
    """Return one line on how a run ended."""
    name, record = _name(ended.run), ended.record
    if ended.status == "failed":
        return f"{name} failed: {ended.reason}"
    if ended.status == "interrupted":
        return f"{name} interrupted, " + (f"saved at step {record.step}" if record.step else "nothing saved")
    if ended.status == "diverged":
        return f"{name} diverged by step {record.step}: its loss is not finite, and it counts at chance error"
    final, timing = record.final, record.timing
    errors = f"train error {_percent(final.train_error_eval)}, test error {_percent(final.test_error)}"
    seconds, evaluating = timing.seconds or 0.0, timing.evaluating_seconds or 0.0
    is_large = evaluating > seconds / 2 and evaluating >= 1
    share = f" ({duration(evaluating)} of it for evaluations)" if is_large else ""
    return f"{name} done: {errors}, {duration(seconds)}{share}"


def _percent(error: float | None) -> str:
    return "unknown" if error is None else f"{error:.2f} %"


def _name(run: Run) -> str:
    return f"{run.network}-{run.depth} seed {run.seed}"


class _Clock:
    """The finished part of a study, and the time left. A step counts in proportion to the depth."""

    def __init__(self, runs: Sequence[Run]):
        self.started = self.seen = time.monotonic()
        self.total = sum(run.depth * run.steps for run in runs)
        self.steps: dict[str, float] = {}
        self.resumed_steps: dict[str, float] = {}
        """The part of `steps` that was made before the study was resumed."""

    def see(self, run: Run, step: int, first_step: int) -> None:
        """Record that a run in progress has reached a step."""
        self.steps[run.run_id] = run.depth * step
        self.resumed_steps[run.run_id] = run.depth * first_step
        self.seen = time.monotonic()

    def finish(self, run: Run) -> None:
        """Record that a run ended. All its steps count as made, even if it ended early."""
        self.steps[run.run_id] = run.depth * run.steps
        self.resumed_steps.setdefault(run.run_id, self.steps[run.run_id])
        self.seen = time.monotonic()

    @property
    def left(self) -> str:
        """The estimated time left, in words."""
        made = sum(self.steps.values()) - sum(self.resumed_steps.values())
        rest = self.total - sum(self.steps.values())
        elapsed = self.seen - self.started  # up to the last step seen, since an evaluating run makes no steps
        return f"about {duration(elapsed * rest / made)} left" if made > 0 else "time left not known yet"


class Lines(Silent):
    """Plain lines, for a file or a pipe: the end of each run, and every few seconds the progress."""

    def __init__(self, console: Console):
        self.console = console

    def show(self, event: Event) -> None:
        """Print a line, or note the progress of a run for the next line."""
        match event:
            case StudyStarted(runs):
                self.clock, self.done, self.total = _Clock(runs), 0, len(runs)
                self.current: dict[str, str] = {}
                self.last = time.monotonic()
            case RunStarted(run):
                self.current[run.run_id] = f"{_name(run)} starting"
            case RowLogged(run):
                self.clock.see(run, event.step, event.first_step)
                self.current[run.run_id] = (
                    f"{_name(run)} step {event.step}/{event.steps}, loss {event.loss:.3f}, "
                    f"train error {event.train_error:.1f} %, {event.images_per_second:.0f} images/s"
                )
            case Activity(run, text):
                self.current[run.run_id] = f"{_name(run)} {text}"
            case Note(text, run):
                self._say(text if run is None else f"{run.run_id}: {text}")
            case RunEnded(run):
                self.current.pop(run.run_id, None)
                if event.status != "interrupted":
                    self.done += 1
                    self.clock.finish(run)
                self._say(f"[{self.done}/{self.total}] {outcome(event)}")
            case Stopping():
                self._say(
                    "stopping: each run saves its state (press Ctrl-C again to stop at once; runs then "
                    "resume from their last checkpoint)"
                )

    def tick(self) -> None:
        """Print the progress of the runs if no line was printed for a while."""
        if time.monotonic() - self.last < LINE_SECONDS or not self.current:
            return
        self._say(f"[{self.done}/{self.total}] {'; '.join(self.current.values())}; {self.clock.left}")

    def _say(self, line: str) -> None:
        self.last = time.monotonic()
        say(self.console, line)


class Bars(Lines):
    """A bar for the study and one for each run in progress. Finished runs stay above them as lines."""

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

    def __enter__(self) -> Self:
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.bars.stop()

    def show(self, event: Event) -> None:
        """Print a line, or update the bar of a run."""
        super().show(event)
        match event:
            case StudyStarted():
                for task in self.bars.task_ids:  # from an earlier round of a search
                    self.bars.remove_task(task)
                self.tasks.clear()
                self.whole = self.bars.add_task("all runs", total=self.clock.total, detail="starting")
            case RunStarted(run):
                self._remove(run)  # it can start again, in another process
                name = f"{run.network}-{run.depth} s{run.seed}"
                self.tasks[run.run_id] = self.bars.add_task(name, total=run.steps, detail="starting")
            case RowLogged(run):
                left = (event.steps - event.step) * run.recipe.batch_size / event.images_per_second
                detail = (  # short enough for a terminal of 80 columns
                    f"{event.step}/{event.steps} loss {event.loss:.2f} error {event.train_error:.1f} % "
                    f"{event.images_per_second:.0f} img/s {duration(left)}"
                )
                self.bars.update(self.tasks[run.run_id], completed=event.step, detail=detail)
            case Activity(run, text):
                self.bars.update(self.tasks[run.run_id], detail=text)
            case RunEnded(run):
                self._remove(run)

    def _remove(self, run: Run) -> None:
        task = self.tasks.pop(run.run_id, None)
        if task is not None:
            self.bars.remove_task(task)

    def tick(self) -> None:
        """Update the bar of the study."""
        done = sum(self.clock.steps.values())
        detail = f"{self.done}/{self.total} done, {self.clock.left}"
        self.bars.update(self.whole, completed=done, detail=detail)
