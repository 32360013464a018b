"""Displays of progress: bars in a terminal, and plain lines in a file or a pipe."""

import time
from collections.abc import Sequence
from statistics import mean
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from depthbench.console import LINE_SECONDS, say
from depthbench.events import (
    Activity,
    Alive,
    Display,
    Event,
    Note,
    Progressed,
    RowLogged,
    RunEnded,
    RunStarted,
    RunWaiting,
    Silent,
    Stopping,
    StudyStarted,
)
from depthbench.execution.schedule import makespan
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
    """The finished fraction of a study, and the time left.

    A run in progress reports its own time left. A run that has not started is expected to take as long as the
    others of its network, in proportion to its depth."""

    def __init__(self, runs: Sequence[Run], jobs: int):
        self.jobs = jobs
        self.waiting = {run.run_id: run for run in runs}
        self.progress: dict[str, Progressed] = {}
        """The last progress of each run in progress, by run id."""
        self.seen: dict[str, float] = {}
        """The time at which that progress was seen."""
        self.alive: dict[str, tuple[float, Alive]] = {}
        """The last Alive event of each run in progress and the time at which it was seen, by run id."""
        self.rates: dict[str, dict[str, float]] = {}
        """The seconds per step and layer of each run seen, by network and run id."""
        self.total = sum(run.depth * run.steps for run in runs)
        self.done = {run.run_id: 0 for run in runs}
        """The finished part of each run, as steps times depth."""

    def start(self, run: Run) -> None:
        """Record that a process starts a run, or that the run waits to start again after its process died."""
        self.waiting[run.run_id] = run
        self.progress.pop(run.run_id, None)
        self.alive.pop(run.run_id, None)

    def see_alive(self, event: Alive) -> None:
        """Record a sign of life of a run."""
        self.alive[event.run.run_id] = time.monotonic(), event

    def see(self, event: Progressed) -> None:
        """Record the progress of a run."""
        run = event.run
        self.waiting.pop(run.run_id, None)
        self.progress[run.run_id], self.seen[run.run_id] = event, time.monotonic()
        self.done[run.run_id] = run.depth * event.step
        work = run.depth * (run.steps - event.first_step)
        if work:
            rates = self.rates.setdefault(run.network, {})
            rates[run.run_id] = (event.seconds + event.seconds_left) / work

    def finish(self, run: Run) -> None:
        """Record that a run ended. All its steps count as made, even if it ended early."""
        self.waiting.pop(run.run_id, None)
        self.progress.pop(run.run_id, None)
        self.alive.pop(run.run_id, None)
        self.done[run.run_id] = run.depth * run.steps

    def left_of(self, run: Run) -> float:
        """Return the estimated seconds left of a run in progress."""
        event = self.progress[run.run_id]
        return max(0.0, event.seconds_left - (time.monotonic() - self.seen[run.run_id]))

    @property
    def left(self) -> str:
        """The estimated time left, in words, or how long a run has made no progress."""
        if silence := self._silence():
            return silence
        if not self.rates:
            return "time left not known yet"
        started = [self.left_of(event.run) for event in self.progress.values()]
        waiting = [run.depth * run.steps * self._rate(run.network) for run in self.waiting.values()]
        return f"about {duration(makespan([*started, *waiting], self.jobs))} left"

    def _silence(self) -> str:
        """Return how long a run has made no progress, if much longer than its steps, or an empty text."""
        for since, event in self.alive.values():
            seconds = time.monotonic() - since
            if seconds > max(LINE_SECONDS, 2 * event.longest_step):
                return f"{_name(event.run)}: no progress for {duration(seconds)}"
        return ""

    def _rate(self, network: str) -> float:
        """Return the mean seconds per step and layer of a network, or of all if no run of it was seen."""
        of_all = [rate for rates in self.rates.values() for rate in rates.values()]
        return mean(self.rates[network].values() if network in self.rates else of_all)


class Lines(Silent):
    """Plain lines, for a file or a pipe: the end of each run, and every few seconds the progress."""

    def __init__(self, console: Console):
        self.console = console

    def show(self, event: Event) -> None:
        """Print a line, or note the progress of a run for the next line."""
        match event:
            case StudyStarted(runs, jobs):
                self.clock, self.done, self.total = _Clock(runs, jobs), 0, len(runs)
                self.current: dict[str, str] = {}
                self.rows: dict[str, RowLogged] = {}
                self.last = time.monotonic()
            case RunStarted(run):
                self.clock.start(run)
                self.current[run.run_id] = f"{_name(run)} starting"
            case RunWaiting(run):
                self.clock.start(run)
                self.current[run.run_id] = f"{_name(run)} waiting to start again"
            case RowLogged(run):
                self.rows[run.run_id] = event
            case Alive():
                self.clock.see_alive(event)
            case Progressed(run):
                self.clock.see(event)
                self.current[run.run_id] = f"{_name(run)} step {event.step}/{run.steps}"
                if (row := self.rows.get(run.run_id)) is not None:
                    self.current[run.run_id] += (
                        f", loss {row.loss:.3f}, train error {row.train_error:.1f} %, "
                        f"{row.images_per_second:.0f} {run.data.noun}/s"
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
            case Progressed(run):
                parts = [f"{event.step}/{run.steps}"]  # short enough for a terminal of 80 columns
                if (row := self.rows.get(run.run_id)) is not None:
                    parts += [f"loss {row.loss:.2f} error {row.train_error:.1f} %"]
                    parts += [f"{row.images_per_second:.0f} {'seq' if run.data.is_sequences else 'img'}/s"]
                detail = " ".join([*parts, duration(event.seconds_left)])
                self.bars.update(self.tasks[run.run_id], completed=event.step, detail=detail)
            case RunWaiting(run):
                self.bars.update(self.tasks[run.run_id], detail="waiting to start again")
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
        done = sum(self.clock.done.values())
        detail = f"{self.done}/{self.total} done, {self.clock.left}"
        self.bars.update(self.whole, completed=done, detail=detail)
