"""Store the end of a run that failed, or whose process has died."""

import contextlib
import traceback

from depthbench.errors import BadInput
from depthbench.events import RunEnded
from depthbench.store.record import Record, Status
from depthbench.store.run_store import LOCK_SECONDS, RunIsBusy, RunStore
from depthbench.study.model import Run
from depthbench.text import readable

ERRORS = "error.txt"  # the traceback of a run that failed


def store_end(store: RunStore, run: Run, status: Status, reason: str | None = None) -> RunEnded:
    """Store the end of a run whose process has died, and return its event.

    If the process finished the run just before it died, the run stays finished."""
    record = Record.of(run).changed(status=status, reason=reason)
    # Neither a full disk nor a record that cannot be read may end the other runs.
    with contextlib.suppress(OSError, RunIsBusy, BadInput), store.locked(LOCK_SECONDS):
        stored = store.read() or record
        if store.is_finished():
            record = stored
        else:
            record = stored.changed(status=status, reason=reason)
            store.write(record)
    return RunEnded(run, record)


def store_failure(store: RunStore, record: Record, error: BaseException) -> None:
    """Store `record`, which says that a run failed, and the traceback. Nothing is stored if the disk is full.

    A run that is finished, but could not be pushed to its URL, stays finished. The next command pushes it. A
    run with files that cannot be read stays as it is."""
    if store.unreadable_file() is not None:
        return
    text = readable("".join(traceback.format_exception(error)))
    try:
        (store.path / ERRORS).write_text(text, encoding="utf-8")
    except OSError:
        forget_failure(store)  # nobody is sent to an empty file
    is_finished = False
    with contextlib.suppress(BadInput):  # a record of another format
        is_finished = store.is_finished()
    if not is_finished:
        with contextlib.suppress(OSError):
            store.write(record)


def forget_failure(store: RunStore) -> None:
    """Delete the traceback of an earlier attempt, if there is one."""
    with contextlib.suppress(OSError):
        (store.path / ERRORS).unlink()
        store.push()
