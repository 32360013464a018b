"""The local backend: runs on this machine, several at once. If a process dies, the others go on."""

import contextlib
import pickle
import signal
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from pathlib import Path

from depthbench.errors import Interrupted
from depthbench.events import Display, Event, RunEnded, RunStarted, Stopping
from depthbench.execution.messages import StartRun, Stop, WorkerSetup
from depthbench.execution.plan import Plan
from depthbench.execution.process import Process, worker_environment
from depthbench.store.record import Record
from depthbench.store.run_store import LOCK_SECONDS, RunIsBusy
from depthbench.study.model import Run

TICK = 0.5  # seconds between two updates of the display


def execute(plan: Plan, display: Display) -> None:
    """Train `plan.todo`, `plan.jobs` runs at once. See backend.Backend."""
    signals: list[int] = []
    with _collect_signals(signals), tempfile.TemporaryDirectory(prefix="depthbench-") as folder:
        images = Path(folder) / "images"
        with images.open("wb") as file:  # all processes train on what was read and hashed once
            pickle.dump(plan.data, file, protocol=pickle.HIGHEST_PROTOCOL)
        _PlanInProgress(plan, display, images, signals).finish()
    if signals:
        raise Interrupted


class _Worker(Process):
    """A process that trains, and its runs in progress."""

    def __init__(self, plan: Plan, images: Path):
        environment = worker_environment(recomputes=bool(plan.recompute))
        super().__init__("depthbench.execution.worker", plan.threads, environment)
        self.runs: dict[str, Run] = {}
        self.is_ending = False
        """Whether a run failed in this process, so that it takes no more runs."""
        self.send(WorkerSetup(tuple(plan.study.plugins), plan.threads, images, plan.data_hash))

    def start(self, run: Run, plan: Plan) -> None:
        self.runs[run.run_id] = run
        self.send(StartRun(run, plan.store.run(run.run_id).path, plan.mode_of(run)))


class _PlanInProgress:
    """A plan in progress: the runs that wait, and the processes that train."""

    def __init__(self, plan: Plan, display: Display, images: Path, signals: list[int]):
        self.plan, self.display, self.images = plan, display, images
        self.waiting = deque(plan.todo)
        self.workers: dict[Connection, _Worker] = {}
        self.signals = signals  # the handler only fills this list, since it must not touch the pipes
        self.is_stopping = False

    def finish(self) -> None:
        """Train until nothing is left, or all runs have stopped after a signal."""
        try:
            while self.workers or (self.waiting and not self.signals):
                if not self.signals:
                    self._start_runs()
                self._handle_signals()
                ready = wait(list(self.workers), TICK)
                for worker in [worker for worker in self.workers.values() if worker.connection in ready]:
                    self._receive(worker)
                self._end_idle_workers()
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
            self.is_stopping = True
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
        if isinstance(event, RunEnded):
            run = worker.runs.pop(event.run.run_id)
            worker.is_ending |= event.status == "failed"
            if event.status == "interrupted" and not self.is_stopping:  # another run failed in that process
                self.waiting.appendleft(run)
                return
        self.display.show(event)

    def _handle_death(self, worker: _Worker) -> None:
        """Restart or end the runs of a worker that has died."""
        cause = worker.cause_of_death()
        worker.connection.close()
        for run in worker.runs.values():
            if worker.is_ending and worker.exited_normally and not self.is_stopping:
                self.waiting.appendleft(run)  # it had not started when another run failed
                continue
            store = self.plan.store.run(run.run_id)
            record = store.read() or Record.of(run)
            if self.is_stopping:  # its last saved state is kept
                record = record.changed(status="interrupted", reason=None)
            else:
                record = record.changed(status="failed", reason=cause)
            with contextlib.suppress(OSError, RunIsBusy), store.locked(LOCK_SECONDS):
                store.write(record)  # a full disk must not end the other runs
            self.display.show(RunEnded(run, record))

    def _end_idle_workers(self) -> None:
        for worker in list(self.workers.values()):
            if not worker.runs and (worker.is_ending or self.is_stopping or not self.waiting):
                worker.end()
                del self.workers[worker.connection]


@contextlib.contextmanager
def _collect_signals(signals: list[int]) -> Iterator[None]:
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
