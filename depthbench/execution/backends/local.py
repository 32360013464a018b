"""The local backend: runs on this machine, several at once. If a process dies, the others go on."""

import contextlib
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait

from depthbench.data.shared import SharedImages, share
from depthbench.errors import Interrupted
from depthbench.events import Display, Event, RunEnded, RunStarted, Stopping
from depthbench.execution.ends import store_end
from depthbench.execution.messages import StartRun, Stop, WorkerSetup
from depthbench.execution.plan import Plan
from depthbench.execution.process import Process, worker_environment
from depthbench.execution.stalls import StallWatch
from depthbench.store.record import Status
from depthbench.study.model import Run

TICK = 0.5  # seconds between two updates of the display


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


class _Worker(Process):
    """A process that trains, and its runs in progress."""

    def __init__(self, plan: Plan, images: tuple[int, SharedImages]):
        environment = worker_environment(recomputes=bool(plan.recompute))
        super().__init__("depthbench.execution.worker", plan.threads, environment)
        self.runs: dict[str, Run] = {}
        self.is_ending = False
        """Whether a run failed in this process, so that it takes no more runs."""
        descriptor, shared = images
        self.send(WorkerSetup(tuple(plan.study.plugins), plan.threads, plan.data_hash))
        self.send(shared)
        self.send_descriptor(descriptor)

    def start(self, run: Run, plan: Plan) -> None:
        self.runs[run.run_id] = run
        self.send(StartRun(run, plan.store.run(run.run_id).location, plan.mode_of(run)))


class _PlanInProgress:
    """A plan in progress: the runs that wait, and the processes that train."""

    def __init__(self, plan: Plan, display: Display, images: tuple[int, SharedImages], *, signals: list[int]):
        self.plan, self.display, self.images = plan, display, images
        self.waiting = deque(plan.todo)
        self.workers: dict[Connection, _Worker] = {}
        self.signals = signals  # the handler only fills this list, since it must not touch the pipes
        self.watch = StallWatch(plan.execution.stall_timeout)
        self.is_stopping = False

    def finish(self) -> None:
        """Train until nothing is left, or all runs have stopped after a signal."""
        try:
            while self.workers or (self.waiting and not self.signals):
                if not self.signals:
                    self._start_runs()
                self._handle_signals()
                waited_since = time.monotonic()
                ready = wait(list(self.workers), TICK)
                self.watch.forgive(max(0.0, time.monotonic() - waited_since - TICK))
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
            self.watch.stop()
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
            self.watch.start(run.run_id)
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
        self.watch.see(event)
        if isinstance(event, RunEnded):
            run = worker.runs.pop(event.run.run_id)
            self.watch.end(run.run_id)
            worker.is_ending |= event.status == "failed"
            if event.status == "interrupted" and not self.is_stopping:  # another run failed in that process
                self._start_again(run)
                return
        self.display.show(event)

    def _end_stalled_workers(self) -> None:
        """Kill every process whose runs make no progress. Its run without progress for longest has failed."""
        for stall in self.watch.stalled():
            worker = next((worker for worker in self.workers.values() if stall.run_id in worker.runs), None)
            if worker is None:  # another run of that process has stalled for longer
                continue
            worker.kill()
            del self.workers[worker.connection]
            worker.connection.close()
            for run in worker.runs.values():
                if self.is_stopping:
                    self._store_end(run, "interrupted")
                elif run.run_id == stall.run_id:
                    self._store_end(run, "failed", stall.reason)
                else:
                    self._start_again(run)

    def _start_again(self, run: Run) -> None:
        """Train a run in another process, before the runs that wait."""
        self.watch.end(run.run_id)
        self.waiting.appendleft(run)

    def _store_end(self, run: Run, status: Status, reason: str | None = None) -> None:
        """Store and show the end of a run whose process has died."""
        self.watch.end(run.run_id)
        self.display.show(store_end(self.plan.store.run(run.run_id), run, status, reason))

    def _handle_death(self, worker: _Worker) -> None:
        """Restart or end the runs of a worker that has died."""
        cause = worker.cause_of_death()
        worker.connection.close()
        for run in worker.runs.values():
            if worker.is_ending and worker.exited_normally and not self.is_stopping:
                self._start_again(run)  # it had not started when another run failed
                continue
            if self.is_stopping:  # its last saved state is kept
                self._store_end(run, "interrupted")
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
