"""A run as a job of a Slurm cluster: what the job does on its node, and the events that it writes.

The command that submits the job reads the events from a file, because nodes share nothing but a disk."""

import contextlib
import dataclasses
import json
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from depthbench.errors import BadInput, one_line
from depthbench.events import Activity, Event, Note, Progressed, RowLogged, RunEnded, RunStarted, Silent
from depthbench.execution.backends.local import train_plan
from depthbench.execution.ends import store_end
from depthbench.execution.plan import Plan, make_plan
from depthbench.execution.settings import Execution
from depthbench.plugins.loading import load_plugins
from depthbench.store.record import Record
from depthbench.store.study_store import StudyStore
from depthbench.study.grid import Grid
from depthbench.study.model import Run, Study

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

WRITTEN = {kind.__name__: kind for kind in (RunStarted, RowLogged, Progressed, Activity, Note, RunEnded)}
PROGRESS_SECONDS = 5.0  # between two Progressed events of a file, which can grow for days


@dataclass(frozen=True)
class RunJob:
    """A job that trains one run. submitit pickles it, and calls it on a node."""

    study: Study
    run: Run
    execution: Execution
    threads: int
    data_hash: str
    """Hash of the images on the machine that submits the job."""
    events: Path
    """The file for the events of the run."""

    def __call__(self) -> None:
        """Train the run. A signal makes it save its state and end.

        After the signal that announces the end of the job's time, the job is queued again, if possible."""
        store = StudyStore(self.execution.results / self.study.name).run(self.run.run_id)
        writer = EventWriter(self.events)
        with _collected_signals() as (signals, requeue):
            try:
                plan = self._plan()
                if plan.finished:  # by another job, since this one was submitted
                    record = store.read()
                    assert record is not None
                    writer.show(RunStarted(self.run))
                    writer.show(RunEnded(self.run, record))
                for note in plan.notes if plan.todo else ():
                    writer.show(Note(note, self.run))
                train_plan(plan, writer, signals)
            except Exception as error:
                writer.show(store_end(store, self.run, "failed", one_line(error)))
            if signals and writer.status is None:
                writer.show(store_end(store, self.run, "interrupted"))
            if writer.status == "interrupted":
                requeue()

    def checkpoint(self) -> "DelayedSubmission":
        """Return the call that continues this job after it was queued again. submitit calls this."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    def _plan(self) -> Plan:
        """Return the plan of the run on this node. Raises BadInput if the images, plug-ins or depthbench
        differ from those at submission."""
        load_plugins(self.study.plugins)
        grid = Grid(network=[self.run.network], depth=[self.run.depth], seed=[self.run.seed])
        plan = make_plan(self.study.model_copy(update={"grid": grid, "also": []}), self.execution)
        node = socket.gethostname()
        if plan.data_hash != self.data_hash:
            raise BadInput(
                f"the hash of the images is {plan.data_hash[:12]} on {node}, but {self.data_hash[:12]} where "
                "the job was submitted: use a --data-dir or a folder that all nodes share"
            )
        if [run.run_id for run in (*plan.todo, *plan.finished)] != [self.run.run_id]:
            raise BadInput(
                f"plug-ins or depthbench on {node} changed after the job was submitted: rerun the command"
            )
        return dataclasses.replace(plan, threads=self.threads)


@contextlib.contextmanager
def _collected_signals() -> Iterator[tuple[list[int], Callable[[], None]]]:
    """Yield a list for the first signal, and a function that queues the job again if its time is over.

    Further signals do not make the run stop faster: Slurm kills a job that takes too long."""
    import submitit

    usual = int(
        getattr(signal, f"SIG{submitit.JobEnvironment.USR_SIG}")
    )  # Slurm sends it before the time limit
    signals: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if not signals:
            signals.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM, usual)}

    def requeue() -> None:
        handler = before[usual]
        if signals == [usual] and callable(handler):
            # submitit's handler queues the job and exits. If it cannot, the run stays interrupted.
            with contextlib.suppress(Exception):
                handler(usual, None)

    try:
        yield signals, requeue
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class EventWriter(Silent):
    """A display that appends events to a file, each as a line of JSON."""

    def __init__(self, file: Path):
        self.file = file
        self.status: str | None = None
        """The status of the run, once it has ended."""
        self._progressed = 0.0

    def show(self, event: Event) -> None:
        if isinstance(event, Progressed):
            if time.monotonic() - self._progressed < PROGRESS_SECONDS:
                return
            self._progressed = time.monotonic()
        if isinstance(event, RunEnded):
            self.status = event.status
        if type(event).__name__ in WRITTEN:
            with contextlib.suppress(OSError), self.file.open("a", encoding="utf-8") as file:
                file.write(f"{to_line(event)}\n")


class EventReader:
    """The events of a run in a file that an EventWriter, possibly on another machine, writes."""

    def __init__(self, file: Path, run: Run):
        self.file, self.run = file, run
        self._position = 0

    def read(self) -> list[Event]:
        """Return the events since the last call. Lines that are not events are skipped."""
        try:
            with self.file.open("rb") as file:
                file.seek(self._position)
                content = file.read()
        except OSError:  # not written yet
            return []
        complete = content[: content.rfind(b"\n") + 1]
        self._position += len(complete)
        events = (from_line(line, self.run) for line in complete.decode("utf-8", "replace").splitlines())
        return [event for event in events if event is not None]


def to_line(event: Event) -> str:
    """Return an event of a run as a line of JSON."""
    values: dict[str, Any] = {field.name: getattr(event, field.name) for field in dataclasses.fields(event)}
    del values["run"]
    if isinstance(event, RunEnded):
        values["record"] = event.record.to_dict()
    return json.dumps({"event": type(event).__name__} | values)


def from_line(line: str, run: Run) -> Event | None:
    """Return the event in a line of JSON, or None if there is none."""
    try:
        values = json.loads(line)
        kind = WRITTEN[values.pop("event")]
        if "record" in values:
            values["record"] = Record.model_validate(values["record"])
        return kind(run=run, **values)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
