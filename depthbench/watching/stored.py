"""The stored run of a training loop that depthbench does not control."""

import contextlib
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import torch

from depthbench.errors import BadInput, one_line
from depthbench.execution.ends import forget_failure, store_failure
from depthbench.probes.rows import Row
from depthbench.store.record import REQUIRED_TABLES, Final, HowExecuted, Record, Status, Timing
from depthbench.store.run_store import LOCK_SECONDS, RunIsBusy, RunStore
from depthbench.store.study_store import StudyStore
from depthbench.store.watched import join
from depthbench.study.watched import WatchedRun
from depthbench.text import printable
from depthbench.training.records import Records

if TYPE_CHECKING:
    import pandas as pd

_OPEN: "WeakValueDictionary[Path, StoredRun]" = WeakValueDictionary()
"""The runs that this process writes, by directory."""


class StoredRun:
    """The record and the rows of a run. Only a process that opens the run stores it.

    numbered_as: returns the rows of the run, numbered as in its stored layers.parquet. ranks: the
    processes that train together. started: when the run began, by time.perf_counter."""

    def __init__(
        self,
        run: WatchedRun,
        record: Record,
        records: Records,
        *,
        numbered_as: Callable[["pd.DataFrame"], Sequence[Row]],
        ranks: int,
        started: float,
    ):
        self._numbered_as = numbered_as
        self.run, self.record, self.records, self.ranks = run, record, records, ranks
        self.store: RunStore | None = None
        self.unmeasured: dict[str, str] = {}
        """Layer, module or parameter -> why it has no values."""
        self._lock = contextlib.ExitStack()
        self._has_warned = False
        self._started, self._earlier_seconds = started, 0.0

    def open(self, path: str | Path, *, steps_made: int, overwrite: bool, device: torch.device) -> None:
        """Lock the run, and store its first record.

        If steps were made, take over the stored rows up to there. Raises BadInput if another process writes
        the run, or if its rows would have to be replaced without `overwrite`."""
        study = StudyStore(path)
        join(study, self.run)
        store = study.run(self.run.run_id)
        place = store.path.resolve()
        if place in _OPEN:
            raise BadInput(
                f"watch: {self.run.run_id} is open in another watch of this process; close() that one, or "
                "use another seed= or name="
            )
        try:
            self._lock.enter_context(store.locked(LOCK_SECONDS))
        except RunIsBusy as error:
            raise BadInput(f"watch: {error}; use another seed= or name=") from None
        try:
            if not self._continues(store, steps_made, overwrite, device):
                for table in store.path.glob("*.parquet"):
                    table.unlink()
        except BaseException:
            self._lock.close()
            raise
        forget_failure(store)
        store.write(self.record)
        self.store = store
        _OPEN[place] = self

    def unlock(self) -> None:
        """Let other processes write the run."""
        if self.store is not None:
            _OPEN.pop(self.store.path.resolve(), None)
        self._lock.close()

    def _continues(self, store: RunStore, steps_made: int, overwrite: bool, device: torch.device) -> bool:
        """Return whether the run goes on from its stored rows. If so, take them over.

        Raises BadInput if it would have to replace them without `overwrite`."""
        advice = "use another seed= or name=, or overwrite=True to replace it"
        is_finished, has_rows = store.is_finished(), _has_rows(store)
        if is_finished and not overwrite:
            raise BadInput(f"{store.location} is finished: {advice}")
        if steps_made and has_rows and not is_finished:
            try:
                self._resume(store, steps_made, device)
                return True
            except (OSError, ValueError, KeyError) as error:
                if not overwrite:
                    problem = f"{store.location} cannot be continued: {one_line(error)}"
                    raise BadInput(f"{problem}; {advice}") from None
        elif has_rows and not overwrite:
            raise BadInput(
                f"{store.location} has rows of an unfinished run: use steps_made= to continue it from a "
                f"checkpoint, {advice.removeprefix('use ')}"
            )
        return False

    def _resume(self, store: RunStore, steps_made: int, device: torch.device) -> None:
        """Take over the rows up to the steps made, and what the stored record says of them."""
        tables = {name: store.frame(name) for name in REQUIRED_TABLES}
        self.records.resume(tables, steps_made, device)
        self.records.number(self._numbered_as(tables["layers"]))
        before = store.read() or self.record
        self.unmeasured |= before.execution.not_measured or {}
        self._earlier_seconds = before.timing.seconds or 0.0
        store.write_rows(self.records.rows, self.records.layers())
        self.record = self.record.changed(
            hashes=before.hashes,
            earlier_environments=before.environments_before(self.record.environment),
            tables=store.written,
            **self._facts("interrupted", steps_made),
        )

    def save(
        self,
        status: Status,
        steps_made: int,
        error: BaseException | None = None,
        *,
        must_succeed: bool = False,
    ) -> None:
        """Store the results so far. error: why the run ended.

        If they cannot be written, warns once, or raises OSError if `must_succeed`."""
        if self.store is None:
            return
        self.record = self.record.changed(
            status=status,
            reason=None if error is None else one_line(error),
            **self._facts(status, steps_made),
        )
        try:
            self.store.write_rows(self.records.rows, self.records.layers())
            self.record = self.record.changed(tables=self.store.written)
            if status == "failed" and error is not None:
                store_failure(self.store, self.record, error)
            else:
                forget_failure(self.store)
                self.store.write(self.record)
        except OSError as problem:
            if must_succeed:
                raise
            if not self._has_warned:
                self.say(f"{self.store.location} cannot be written: {one_line(problem)}")
            self._has_warned = True

    def say(self, text: str) -> None:
        """Print a line on stderr, in the process that stores the run."""
        if self.store is not None:
            print(printable(f"watch: {text}"), file=sys.stderr)

    def _facts(self, status: Status, steps_made: int) -> dict[str, Any]:
        """Return what the record says about the run so far."""
        step = self.records.last_step if status == "diverged" else steps_made
        final = self.records.tracker.final(self.records.rows, None)
        if status == "diverged":
            final = self.records.tracker.final(self.records.rows, self.run.chance_error)
            if self.run.chance_error is None:  # a diverged run counts at chance error, which is unknown
                final = {}
        if self.run.steps is not None:
            planned: int | None = max(self.run.steps, steps_made)
        else:
            planned = steps_made if status == "done" else None
        return {
            "step": step,
            "steps": planned,
            "final": Final(**final),
            "execution": HowExecuted(**self._execution()),
            "timing": Timing(seconds=round(self._earlier_seconds + time.perf_counter() - self._started, 3)),
        }

    def _execution(self) -> dict[str, Any]:
        execution: dict[str, Any] = {"loop": "watch"}
        if self.ranks > 1:
            execution["processes"] = self.ranks
        if self.unmeasured:
            execution["not_measured"] = self.unmeasured
        return execution


def _has_rows(store: RunStore) -> bool:
    """Return whether a run has a table with rows, or one that cannot be read."""
    try:
        return any(len(store.table(file.stem)) for file in store.path.glob("*.parquet"))
    except (OSError, ValueError):
        return True
