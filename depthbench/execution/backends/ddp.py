"""The backend for torchrun: all its processes train each run together, one run after another.

This is the part of rank 0, which stores the runs. The others follow it (execution/ranks.py)."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Generator, Iterator

import torch

from depthbench.errors import BadInput, Interrupted, StudyStopped
from depthbench.events import Display, Note, RunEnded, RunStarted, Stopping
from depthbench.execution import ranks
from depthbench.execution.backends.local import collect_signals
from depthbench.execution.ends import forget_failure, store_failure
from depthbench.execution.plan import Plan
from depthbench.execution.retraining import store_to_train, store_weights
from depthbench.execution.worker import reason_of
from depthbench.store.record import Record
from depthbench.store.run_store import LOCK_SECONDS, RunIsBusy, RunStore
from depthbench.study.model import Run
from depthbench.training.loop import train
from depthbench.training.mode import TrainingMode
from depthbench.training.team import PeerLost

TICK = 0.5  # seconds between two updates of the display
RERUN = "rerun this command to resume"
NOT_CONNECTED = (
    "several processes train together only on the command line: use `torchrun --nproc-per-node N -m "
    "depthbench run ...`, or start Python without torchrun"
)


def execute(plan: Plan, display: Display) -> None:
    """Train `plan.todo` in all processes. See backend.Backend.

    If a process dies, the run in progress is interrupted and the study ends, because torchrun ends the other
    processes: raises StudyStopped."""
    if not plan.todo:
        return
    signals: list[int] = []
    with _without_sigterm(), collect_signals(signals):
        try:
            leader = _Leader(plan, display, signals)
            leader.train()
        except (PeerLost, StudyStopped) as error:
            ranks.disconnect()
            raise StudyStopped(f"{error}; {RERUN}") from error
    if leader.is_stopping:
        raise Interrupted


@contextlib.contextmanager
def _without_sigterm() -> Iterator[None]:
    """Ignore SIGTERM from here on if the study stops, so that the reason can still be printed.

    torchrun sends it as soon as it sees that a process died."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGTERM, old)


class _Leader:
    """Rank 0 of a plan in progress."""

    def __init__(self, plan: Plan, display: Display, signals: list[int]):
        self.plan, self.display, self.signals = plan, display, signals
        self.parent = os.getppid()
        self.ticked = time.monotonic()
        self.is_stopping = False
        if not ranks.is_connected():
            raise BadInput(NOT_CONNECTED)
        setup = ranks.Setup(plan.study, plan.execution, plan.data_hash, plan.device, plan.todo)
        ranks.tell(setup)
        ranks.wait_for_turn()
        if (problem := ranks.agree(None)) is not None:
            raise BadInput(problem)
        self.team = ranks.connect_team(plan.device, plan.execution)

    def train(self) -> None:
        """Train the runs one after another, until all have ended or one was stopped."""
        for run in self.plan.todo:
            if self._should_stop():
                break
            self.display.show(RunStarted(run))
            self._train(run)
        self.team.broadcast(None)

    def _should_stop(self) -> bool:
        """Return whether a signal arrived, here or in another process, or torchrun has died."""
        if self.signals or os.getppid() != self.parent:
            self._stop()
        return self.is_stopping

    def _stop(self) -> None:
        if not self.is_stopping:
            self.is_stopping = True
            self.display.show(Stopping())

    def _train(self, run: Run) -> None:
        store = self.plan.store.run(run.run_id)
        with contextlib.ExitStack() as lock:
            try:
                lock.enter_context(store.locked(LOCK_SECONDS))
                store.check_readable()
            except (OSError, RunIsBusy) as error:
                record = Record.of(run).changed(status="failed", reason=reason_of(error, store.path))
                self.display.show(RunEnded(run, record))
                return
            mode = self.plan.mode_of(run)
            where = store_to_train(store, mode)
            if where is None:  # finished by another process, since the plan was made
                record = store.read() or Record.of(run)
                self.display.show(RunEnded(run, record))
                return
            self._train_together(run, store, where, mode)

    def _train_together(self, run: Run, store: RunStore, where: RunStore, mode: TrainingMode) -> None:
        self.team.broadcast((run, mode))
        torch.set_num_threads(self.plan.threads)  # a resumed run can have changed it
        steps = train(
            run,
            self.plan.data,
            where,
            mode,
            data_hash=self.plan.data_hash,
            emit=self.display.show,
            should_stop=self._should_stop,
            team=self.team,
        )
        failure: BaseException | None = None
        try:
            record = self._finish(steps)
            record = store_weights(store, where, record, lambda text: self.display.show(Note(text, run)))
            forget_failure(store)
        except PeerLost:
            self.display.show(RunEnded(run, store.read() or Record.of(run)))
            raise
        except (Exception, SystemExit) as error:
            failure, record = error, _store_failure(run, store, error)
        if record.status == "interrupted":  # by a signal, which another process may have received
            self._stop()
        self.display.show(RunEnded(run, record))
        has_failed = self.team.meet(has_failed=failure is not None)
        if has_failed is None:
            if failure is None:
                raise StudyStopped(f"{run.run_id} ended, but another process does not answer")
            raise StudyStopped(f"{run.run_id} failed on rank 0 only ({record.reason})")
        if has_failed:  # messages of the failed run may be on their way
            self.team = ranks.connect_team(self.plan.device, self.plan.execution, after_failure=True)

    def _finish(self, steps: Generator[None, None, Record]) -> Record:
        while True:
            try:
                next(steps)
            except StopIteration as end:
                record: Record = end.value
                return record
            if time.monotonic() - self.ticked > TICK:
                self.display.tick()
                self.ticked = time.monotonic()


def _store_failure(run: Run, store: RunStore, error: Exception | SystemExit) -> Record:
    """Store why a run failed, and return its record."""
    record = Record.of(run)
    with contextlib.suppress(BadInput):  # a record of another format
        record = store.read() or record
    record = record.changed(status="failed", reason=reason_of(error, store.path))
    store_failure(store, record, error)
    return record
