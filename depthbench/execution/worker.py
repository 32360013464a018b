"""A process that trains runs as its parent asks, one after another or several in turn.

It is told what all runs share, then (Run, directory) again and again, and tells ("progress", run id, event)
and ("end", run id, status, reason). "stop", or the parent's death, means: keep all states and end."""

import contextlib
import pickle
import signal
import traceback
from collections import deque
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthbench.errors import one_line
from depthbench.execution.process import parent
from depthbench.plugins import load_plugin
from depthbench.store.record import describe
from depthbench.store.run_store import RunStore
from depthbench.study.model import Run

if TYPE_CHECKING:
    from depthbench.training.loop import Steps


class Inbox:
    """What the parent has said and was not heeded yet. It may be asked at any moment whether to stop."""

    def __init__(self, connection: Connection):
        self.connection = connection
        self.runs: deque[tuple[Run, RunStore]] = deque()
        self._stop = False
        self.has_failed = False  # a run of this process, which may be spoilt by it

    def should_stop(self) -> bool:
        """Whether the parent has said so, or is gone, or a run has failed. Does not wait."""
        while not self._stop and self.connection.poll():
            self.wait()
        return self._stop or self.has_failed

    def wait(self) -> None:
        """Take the next message, however long it takes to come."""
        try:
            message = self.connection.recv()
        except (EOFError, OSError):
            message = "stop"
        if message == "stop":
            self._stop = True
        else:
            self.runs.append((message[0], RunStore(Path(message[1]))))


def serve(connection: Connection) -> None:
    """Train runs, those that are there in turn, step by step, until told to stop. After the first error all
    end: the process may be spoilt."""
    setup = connection.recv()
    inbox = Inbox(connection)
    begin = None
    turns: dict[str, tuple[Run, RunStore, Steps]] = {}
    while True:
        if not inbox.should_stop() and not turns and not inbox.runs:  # asking may bring a run in
            inbox.wait()
        while inbox.runs and not inbox.should_stop():
            run, store = inbox.runs.popleft()
            try:
                begin = begin or _prepared(setup, connection, inbox)
                turns[run.run_id] = run, store, begin(run, store)
            except (Exception, SystemExit) as error:
                _fail(connection, inbox, run, store, error)
        for run, store, steps in list(turns.values()):
            try:
                next(steps)
                continue
            except StopIteration as end:
                _tell(connection, ("end", run.run_id, end.value["status"], None))
                with contextlib.suppress(OSError):
                    (store.path / "error.txt").unlink(missing_ok=True)  # of an earlier try
            except (Exception, SystemExit) as error:
                _fail(connection, inbox, run, store, error)
            del turns[run.run_id]
        if inbox.should_stop() and not turns:
            return


def _fail(connection: Connection, inbox: Inbox, run: Run, store: RunStore, error: Exception) -> None:
    """Tell and store what went wrong with `run`, and stop the others. What goes wrong with them after that is
    put down to it: they are interrupted, and tried again in another process."""
    if inbox.has_failed:
        _tell(connection, ("end", run.run_id, "interrupted", None))
        return
    reason = one_line(error)
    _tell(connection, ("end", run.run_id, "failed", reason))  # first: it may be the disk that is full
    with contextlib.suppress(OSError):
        store.write((store.read() or describe(run)) | {"status": "failed", "reason": reason})
        (store.path / "error.txt").write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    inbox.has_failed = True


def _prepared(setup: dict[str, Any], connection: Connection, inbox: Inbox) -> Callable:
    """What all runs share, loaded: a function that begins to train one."""
    for plugin in setup["plugins"]:
        load_plugin(plugin)
    import torch

    from depthbench.training.loop import train
    from depthbench.training.mode import TrainingMode

    with open(setup["images"], "rb") as file:
        images = pickle.load(file)

    def begin(run: Run, store: RunStore) -> "Steps":
        mode = TrainingMode(
            device=setup["device"],
            step_mode=setup["step"],
            recompute=run.run_id in setup["recompute"],
            is_streamed=setup["is_streamed"],
            keep_checkpoint=setup["keep_checkpoint"],
        )
        torch.set_num_threads(setup["threads"])  # a resumed run may have changed it
        return train(
            run,
            images,
            store,
            mode,
            data_hash=setup["data_hash"],
            report=lambda event: _tell(connection, ("progress", run.run_id, event)),
            should_stop=inbox.should_stop,
        )

    return begin


def _tell(connection: Connection, message: tuple) -> None:
    """Send. Where nobody listens any more, the inbox will say so: stop."""
    with contextlib.suppress(OSError):
        connection.send(message)


if __name__ == "__main__":
    signal.signal(
        signal.SIGTERM, signal.SIG_IGN
    )  # sent to a whole job; the parent, which got it too, decides
    with contextlib.suppress(EOFError):  # the parent is gone
        serve(parent())
