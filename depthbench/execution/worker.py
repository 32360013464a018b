"""A process that trains runs for its parent, one after another or several alternately.

It receives a WorkerSetup, SharedImages, the file of these images and then StartRun messages, and sends
events. After Stop, or when the parent dies, it saves the state of every run and ends."""

import contextlib
import errno
import signal
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from pathlib import Path
from typing import Any, Protocol

from depthbench.data.labelled import Labelled
from depthbench.errors import BadInput, of_system, one_line
from depthbench.events import Alive, Event, Note, RunEnded
from depthbench.execution.ends import forget_failure, store_failure
from depthbench.execution.messages import StartRun, Stop, WorkerSetup
from depthbench.execution.retraining import store_to_train, store_weights
from depthbench.plugins.loading import load_plugins
from depthbench.store.record import Record
from depthbench.store.run_store import LOCK_SECONDS, RunIsBusy, RunStore
from depthbench.study.model import Run


class Parent(Protocol):
    """The connection of a worker to its parent."""

    def send(self, event: Event, /) -> None: ...

    def recv(self) -> Any:
        """Wait for a StartRun or Stop. Raises EOFError or OSError if the parent is gone."""

    def poll(self) -> bool:
        """Return whether a message has arrived. Called before each step."""


class Inbox:
    """The messages of the parent that wait to be handled."""

    def __init__(self, connection: Parent):
        self.connection = connection
        self.starts: deque[StartRun] = deque()
        self.has_failed = False
        """Whether a run failed in this process, which can affect other runs in it."""
        self._has_stop = False

    def should_stop(self) -> bool:
        """Return whether the parent sent Stop or died, or a run failed. Does not wait."""
        while not self._has_stop and self.connection.poll():
            self.wait()
        return self._has_stop or self.has_failed

    def wait(self) -> None:
        """Receive the next message, however long it takes."""
        try:
            message = self.connection.recv()
        except (EOFError, OSError):
            message = Stop()
        if isinstance(message, Stop):
            self._has_stop = True
        else:
            self.starts.append(message)


@dataclass
class Turn:
    """A run in progress."""

    start: StartRun
    store: RunStore
    trained: RunStore
    """Where it is trained: `store`, or another store to get the weights of a finished run."""
    steps: Generator[None, None, Record]
    lock: contextlib.ExitStack
    """Holds the run until it has ended."""


class Worker:
    """A loop that trains runs until the parent sends Stop.

    After the first failure all runs end, because the failure can have damaged the process."""

    def __init__(self, connection: Parent, setup: WorkerSetup, load_images: Callable[[], Labelled]):
        self.connection, self.setup, self.load_images = connection, setup, load_images
        self.inbox = Inbox(connection)
        self.turns: list[Turn] = []
        self.images: Labelled | None = None

    def serve(self) -> None:
        """Take turns with all runs, step by step, until there is nothing left to do."""
        while True:
            # should_stop comes first, because it receives the messages that have arrived
            if not self.inbox.should_stop() and not self.turns and not self.inbox.starts:
                self.inbox.wait()
            while self.inbox.starts and not self.inbox.should_stop():
                self._begin(self.inbox.starts.popleft())
            self.turns = [turn for turn in self.turns if self._advance(turn)]
            if self.inbox.should_stop() and not self.turns:
                return

    def _begin(self, start: StartRun) -> None:
        self._send(Alive(start.run, 0, 0.0))  # this process has started
        store = RunStore.at(start.directory)
        with contextlib.ExitStack() as lock:
            try:
                lock.enter_context(store.locked(LOCK_SECONDS))
                store.check_readable()
                where = store_to_train(store, start.mode)
                if where is None:  # finished by another process, since the plan was made
                    record = store.read()
                    assert record is not None
                    self._send(RunEnded(start.run, record))
                    return
                if self.images is None:
                    self.images = self._load_images()
                start.run.check_code()
                steps = self._train(start, where, self.images)
                self.turns.append(Turn(start, store, where, steps, lock.pop_all()))
            except RunIsBusy as error:
                record = store.read() or Record.of(start.run)
                reason = f"{error}; rerun when it has ended"
                self._send(RunEnded(start.run, record.changed(status="failed", reason=reason)))
            except (Exception, SystemExit) as error:
                self._fail(start, store, error)

    def _load_images(self) -> Labelled:
        """Load the plug-ins and the images."""
        load_plugins(self.setup.plugins)
        return self.load_images()

    def _train(self, start: StartRun, store: RunStore, images: Labelled) -> Generator[None, None, Record]:
        import torch

        from depthbench.training.loop import train

        torch.set_num_threads(self.setup.threads)  # a resumed run can have changed it
        return train(
            start.run,
            images,
            store,
            start.mode,
            data_hash=self.setup.data_hash,
            emit=self._send,
            should_stop=self.inbox.should_stop,
        )

    def _advance(self, turn: Turn) -> bool:
        """Make one step of a run, and return whether it goes on."""
        try:
            next(turn.steps)
        except StopIteration as end:
            forget_failure(turn.store)
            try:
                record = store_weights(turn.store, turn.trained, end.value, self._note(turn.start.run))
            except OSError as error:
                self._fail(turn.start, turn.store, error)
            else:
                self._send(RunEnded(turn.start.run, record))
        except (Exception, SystemExit) as error:
            self._fail(turn.start, turn.store, error)
        else:
            return True
        turn.lock.close()
        return False

    def _note(self, run: Run) -> Callable[[str], None]:
        return lambda text: self._send(Note(text, run))

    def _fail(self, start: StartRun, store: RunStore, error: Exception | SystemExit) -> None:
        """Report and store why a run failed, and stop the others.

        Errors of the other runs after that are attributed to the first one: these runs are interrupted, and
        start again in another process."""
        record = Record.of(start.run)
        with contextlib.suppress(BadInput):  # a record of another format
            record = store.read() or record
        if self.inbox.has_failed:
            self._send(RunEnded(start.run, record.changed(status="interrupted", reason=None)))
            return
        self.inbox.has_failed = True
        record = record.changed(status="failed", reason=reason_of(error, store.path))
        self._send(RunEnded(start.run, record))  # before anything is written: the disk can be full
        store_failure(store, record, error)

    def _send(self, event: Event) -> None:
        """Send to the parent. If it has died, the inbox reports that."""
        with contextlib.suppress(OSError):
            self.connection.send(event)


def reason_of(error: Exception | SystemExit, directory: Path) -> str:
    """Return why a run failed, in one line."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no space left for {error.filename or directory}"
    return of_system(error) if isinstance(error, PermissionError) else one_line(error)


def main(connection: Connection) -> None:
    """Serve the parent of this process."""
    # SIGTERM goes to all processes of a job. The parent receives it too, and decides.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    setup, shared = connection.recv(), connection.recv()
    file = recv_handle(connection)
    Worker(connection, setup, lambda: shared.load(file)).serve()
