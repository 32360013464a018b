"""The local backend: runs on this machine, several at once. If a process dies, the others go on."""

import contextlib
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait

from depthbench.data.shared import SharedImages, share
from depthbench.errors import BadInput, Interrupted
from depthbench.events import Alive, Display, Event, RunEnded, RunStarted, Stopping
from depthbench.execution.messages import StartRun, Stop, WorkerSetup
from depthbench.execution.plan import Plan
from depthbench.execution.process import Process, worker_environment
from depthbench.store.record import Record, Status
from depthbench.store.run_store import LOCK_SECONDS, RunIsBusy
from depthbench.study.model import Run

TICK = 0.5  # seconds between two updates of the display
SHORTEST_STALL = 300.0  # seconds without progress that are allowed by default, however short the steps
STALLED_STEPS = 10  # a run has stalled after this many times its longest step without progress
SECONDS_TO_STOP = 8.0  # seconds that a run always has for a step and saving, after Ctrl-C


def execute(plan: Plan, display: Display) -> None:
    """Train `plan.todo`, `plan.jobs` runs at once. See backend.Backend."""
    signals: list[int] = []
    with collect_signals(signals):
        train_plan(plan, display, signals)
    if signals:
        raise Interrupted


def train_plan(plan: Plan, display: Display, signals: list[int]) -> None:
    """Train `plan.todo` in processes of this machine.

    signals: signals that were received so far. The first one stops all runs, and the second kills them.
    Another thread or a signal handler may append to it."""
    if not plan.todo:
        return
    file, images = share(plan.data)  # all processes train on what was read and hashed once
    with file:
        _PlanInProgress(plan, display, (file.fileno(), images), signals=signals).finish()


@dataclass
class _LastSeen:
    """When a run in progress was last seen to progress."""

    at: float
    step: int = 0
    longest_step: float = 0.0


class _Worker(Process):
    """A process that trains, and its runs in progress."""

    def __init__(self, plan: Plan, images: tuple[int, SharedImages]):
        environment = worker_environment(recomputes=bool(plan.recompute))
        super().__init__("depthbench.execution.worker", plan.threads, environment)
        self.runs: dict[str, Run] = {}
        self.progress: dict[str, _LastSeen] = {}
        """When each run in progress was last seen to progress, by run id."""
        self.is_ending = False
        """Whether a run failed in this process, so that it takes no more runs."""
        descriptor, shared = images
        self.send(WorkerSetup(tuple(plan.study.plugins), plan.threads, shared, plan.data_hash))
        self.send_descriptor(descriptor)

    def start(self, run: Run, plan: Plan) -> None:
        self.runs[run.run_id] = run
        self.progress[run.run_id] = _LastSeen(time.monotonic())
        self.send(StartRun(run, plan.store.run(run.run_id).path, plan.mode_of(run)))

    def see(self, event: Event) -> None:
        """Note that the run of an event progresses."""
        run = getattr(event, "run", None)
        if run is None or run.run_id not in self.progress:
            return
        seen = self.progress[run.run_id]
        seen.at = time.monotonic()
        seen.step = getattr(event, "step", seen.step)
        if isinstance(event, Alive):
            seen.longest_step = event.longest_step

    def end_of_run(self, run: Run) -> Run:
        """Forget a run that has ended, and return it."""
        del self.progress[run.run_id]
        return self.runs.pop(run.run_id)


class _PlanInProgress:
    """A plan in progress: the runs that wait, and the processes that train."""

    def __init__(self, plan: Plan, display: Display, images: tuple[int, SharedImages], *, signals: list[int]):
        self.plan, self.display, self.images = plan, display, images
        self.waiting = deque(plan.todo)
        self.workers: dict[Connection, _Worker] = {}
        self.signals = signals  # the handler only fills this list, since it must not touch the pipes
        self.stopped_at: float | None = None
        """The time at which all runs were asked to stop."""

    @property
    def is_stopping(self) -> bool:
        return self.stopped_at is not None

    def finish(self) -> None:
        """Train until nothing is left, or all runs have stopped after a signal."""
        try:
            while self.workers or (self.waiting and not self.signals):
                if not self.signals:
                    self._start_runs()
                self._handle_signals()
                waited_since = time.monotonic()
                ready = wait(list(self.workers), TICK)
                self._forgive(time.monotonic() - waited_since - TICK)
                for worker in [worker for worker in self.workers.values() if worker.connection in ready]:
                    self._receive(worker)
                self._end_idle_workers()
                self._end_stalled_workers()
                self.display.tick()
        finally:
            for worker in self.workers.values():
                worker.kill()

    def _handle_signals(self) -> None:
        """Stop all runs after the first signal, and kill them after the second."""
        if self.signals and not self.is_stopping:
            self.display.show(Stopping())
            for worker in self.workers.values():
                worker.send(Stop())
            self.stopped_at = time.monotonic()
        if len(self.signals) > 1:
            for worker in self.workers.values():
                worker.kill()

    def _start_runs(self) -> None:
        """Start waiting runs, up to `plan.jobs` in all, in workers with a free lane or in new ones."""
        while self.waiting and sum(len(worker.runs) for worker in self.workers.values()) < self.plan.jobs:
            worker = self._worker_with_a_free_lane()
            run = self.waiting.popleft()
            self.display.show(RunStarted(run))
            worker.start(run, self.plan)

    def _worker_with_a_free_lane(self) -> _Worker:
        for worker in self.workers.values():
            if not worker.is_ending and len(worker.runs) < self.plan.lanes:
                return worker
        worker = _Worker(self.plan, self.images)
        self.workers[worker.connection] = worker
        return worker

    def _receive(self, worker: _Worker) -> None:
        """Handle one message of a worker, or its death."""
        try:
            event: Event = worker.receive()
        except (EOFError, OSError):
            del self.workers[worker.connection]
            self._handle_death(worker)
            return
        worker.see(event)
        if isinstance(event, RunEnded):
            run = worker.end_of_run(event.run)
            worker.is_ending |= event.status == "failed"
            if event.status == "interrupted" and not self.is_stopping:  # another run failed in that process
                self.waiting.appendleft(run)
                return
        self.display.show(event)

    def _end_stalled_workers(self) -> None:
        """Kill every process whose runs make no progress. Its run without progress for longest has failed."""
        for worker in list(self.workers.values()):
            if not worker.progress:
                continue
            run_id, seen = min(worker.progress.items(), key=lambda item: item[1].at)
            stalled = time.monotonic() - max(seen.at, self.stopped_at or 0.0)
            if stalled <= self._allowed(seen):
                continue
            worker.kill()
            del self.workers[worker.connection]
            worker.connection.close()
            for run in list(worker.runs.values()):
                if self.is_stopping:
                    self._store_end(run, "interrupted", None)
                elif run.run_id == run_id:
                    reason = f"no progress since step {seen.step} for {stalled / 60:.1f} minutes"
                    self._store_end(run, "failed", reason)
                else:
                    self.waiting.appendleft(run)

    def _forgive(self, seconds: float) -> None:
        """Do not count a pause of this process, for example of the whole machine, as a stall of the runs."""
        if seconds > TICK:
            for worker in self.workers.values():
                for seen in worker.progress.values():
                    seen.at += seconds

    def _allowed(self, seen: _LastSeen) -> float:
        """Return the seconds without progress that a run is allowed."""
        if self.is_stopping:
            return max(SECONDS_TO_STOP, 2 * seen.longest_step)
        if self.plan.execution.stall_timeout is not None:
            return 60 * self.plan.execution.stall_timeout
        return max(SHORTEST_STALL, STALLED_STEPS * seen.longest_step)

    def _store_end(self, run: Run, status: Status, reason: str | None) -> None:
        """Store and show the end of a run whose process has died.

        If the process finished the run just before it died, the run is shown as finished and stays so."""
        store = self.plan.store.run(run.run_id)
        record = Record.of(run).changed(status=status, reason=reason)
        # Neither a full disk nor a record that cannot be read may end the other runs.
        with contextlib.suppress(OSError, RunIsBusy, BadInput), store.locked(LOCK_SECONDS):
            stored = store.read() or record
            if store.is_finished():
                record = stored
            else:
                record = stored.changed(status=status, reason=reason)
                store.write(record)
        self.display.show(RunEnded(run, record))

    def _handle_death(self, worker: _Worker) -> None:
        """Restart or end the runs of a worker that has died."""
        cause = worker.cause_of_death()
        worker.connection.close()
        for run in worker.runs.values():
            if worker.is_ending and worker.exited_normally and not self.is_stopping:
                self.waiting.appendleft(run)  # it had not started when another run failed
                continue
            if self.is_stopping:  # its last saved state is kept
                self._store_end(run, "interrupted", None)
            else:
                self._store_end(run, "failed", cause)

    def _end_idle_workers(self) -> None:
        for worker in list(self.workers.values()):
            if not worker.runs and (worker.is_ending or self.is_stopping or not self.waiting):
                worker.end()
                del self.workers[worker.connection]


@contextlib.contextmanager
def collect_signals(signals: list[int]) -> Iterator[None]:
    """Append Ctrl-C and SIGTERM to `signals` instead of raising. Only the main thread can receive signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    old = {number: signal.signal(number, lambda number, frame: signals.append(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
