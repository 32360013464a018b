"""The end of a run whose process has died, as its parent stores it."""

import contextlib

from depthbench.errors import BadInput
from depthbench.events import RunEnded
from depthbench.store.record import Record, Status
from depthbench.store.run_store import LOCK_SECONDS, RunIsBusy, RunStore
from depthbench.study.model import Run


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
