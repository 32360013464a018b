"""The directory of one run."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import filelock

from depthbench.files import atomic, make_folder, read_regular, write_text
from depthbench.paths import URL
from depthbench.store.lease import LeaseIsHeld
from depthbench.store.mirror import AGAIN, CHECKPOINTS, shown, url_of
from depthbench.store.record import REQUIRED_TABLES, Record, Table, is_damaged_format
from depthbench.store.remote import Remote
from depthbench.study.file import check_format
from depthbench.training.keeping import SUFFIX, KeepWeights

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

LOCK = ".lock"
LOCK_SECONDS = 10.0
"""Seconds to wait for the process that holds a run. An orphan ends sooner (execution/process.py)."""


class RunIsBusy(RuntimeError):
    """Another process is writing to a run."""


class RunStore:
    """The directory of one run. With a `remote`, it is a mirror, and each save is pushed."""

    def __init__(self, path: Path, remote: Remote | None = None):
        self.path, self.remote = path, remote
        self.record_file = path / "run.json"
        self.checkpoint = path / "checkpoint.pt"
        self.written: dict[str, Table] = {}
        """The tables written by this object, for the record."""
        self.push_seconds = 0.0
        """How long the last push took."""

    @classmethod
    def at(cls, location: Path | URL) -> Self:
        """Return the store of the run directory at a path or a URL, as `location` names it."""
        url = location if isinstance(location, URL) else url_of(location)
        if url is None:
            return cls(Path(location))
        remote = Remote(url.rpartition("/runs/")[0])
        return cls(remote.mirror / "runs" / url.name, remote)

    @property
    def location(self) -> Path | URL:
        """The directory, or its URL. Unlike the path of a mirror, it is valid on other machines."""
        return self.path if self.remote is None else self.remote.url / "runs" / self.path.name

    @contextlib.contextmanager
    def locked(self, timeout: float = 0.0) -> Iterator[None]:
        """Hold the run for writing. The system releases it when the process that holds it dies.

        timeout: seconds to wait for another process. Raises RunIsBusy after that. Brings the mirror of a URL
        up to date. If a process on another machine died with the run, this takes lease.EXPIRY_SECONDS."""
        with self._locked_here(timeout), contextlib.ExitStack() as held:
            if self.remote is not None:
                try:
                    held.enter_context(self.remote.locked(self.path.name, timeout))
                except LeaseIsHeld as error:
                    message = f"{shown(self.path)}: a process on {error} is writing to it"
                    raise RunIsBusy(message) from None
                self.remote.pull_run(self.path.name)
            yield

    @contextlib.contextmanager
    def _locked_here(self, timeout: float = 0.0) -> Iterator[None]:
        """Hold the directory, which can be a mirror."""
        make_folder(self.path)
        lock = filelock.FileLock(self.path / LOCK)
        try:
            lock.acquire(timeout)
        except filelock.Timeout:
            raise RunIsBusy(f"{shown(self.path)}: another process is writing to it") from None
        try:
            yield
        finally:
            lock.release()

    def is_locked(self) -> bool:
        """Return whether another process holds the run. Creates no file."""
        name = self.path.name
        return self.is_locked_here() or (self.remote is not None and bool(self.remote.busy_runs([name])))

    def is_locked_here(self) -> bool:
        """Return whether a process of this machine, or one that shares the directory, holds the run."""
        if not os.path.exists(self.path / LOCK):  # also if the directory cannot be entered
            return False
        try:
            with self._locked_here():
                return False
        except RunIsBusy:
            return True
        except OSError:  # whoever writes the run reports it
            return False

    def read(self) -> Record | None:
        """Return the content of run.json, or None if the file is missing, unreadable, or of another run.

        Raises BadInput for a record of another results format, which can differ in any key."""
        try:
            text = read_regular(self.record_file).decode()
            values = json.loads(text)
            if "\\ud" in text.lower():  # half of a character, which cannot be written anywhere
                json.dumps(values, ensure_ascii=False).encode()
        except (OSError, ValueError, RecursionError):  # RecursionError: thousands of nested brackets
            return None
        if isinstance(values, dict) and "status" in values:
            if is_damaged_format(values.get("format")):
                return None
            file = self.record_file if self.remote is None else shown(self.record_file)
            check_format(values.get("format"), file)
        try:
            record = Record.model_validate(values)
        except ValueError:
            return None
        return record if record.run_id == self.path.name else None

    def write(self, record: Record) -> None:
        """Replace run.json. This is the last write of a save, which is then pushed."""
        write_text(self.record_file, record.to_json())
        self.push()

    def push(self) -> None:
        """Push what has changed, if this is the mirror of a URL. Raises OSError if the network fails."""
        if self.remote is not None:
            began = time.perf_counter()
            self.remote.push_run(self.path.name)
            self.push_seconds = time.perf_counter() - began

    def write_rows(self, history: Sequence[dict[str, Any]], layers: "pd.DataFrame") -> None:
        """Replace history.parquet and layers.parquet."""
        import pandas as pd

        self.write_frame("history", pd.DataFrame(history))
        self.write_frame("layers", layers)

    def write_frame(self, name: str, frame: "pd.DataFrame") -> None:
        """Replace NAME.parquet."""
        with atomic(self.path / f"{name}.parquet") as temporary:
            frame.to_parquet(temporary, index=False)
            content = temporary.read_bytes()
        self.written[name] = Table(rows=len(frame), sha256=hashlib.sha256(content).hexdigest())

    def table(self, name: str, expected: Table | None = None) -> "pa.Table":
        """Return the table in NAME.parquet.

        Raises OSError or ValueError if the file is missing or broken, or is not the one that the record
        `expected`.

        Thousands of small files are read in a fifth of the time of `pandas.read_parquet`, which prepares for
        large ones."""
        from pyarrow import BufferReader
        from pyarrow.parquet import ParquetFile

        content = read_regular(self.path / f"{name}.parquet")
        if expected is not None and hashlib.sha256(content).hexdigest() != expected.sha256:
            raise ValueError(f"{name}.parquet is not the file that was written")
        table = ParquetFile(BufferReader(content)).read(use_threads=False)
        if expected is not None and len(table) != expected.rows:
            raise ValueError(f"{name}.parquet has {len(table)} rows, not {expected.rows}")
        return table

    def frame(self, name: str) -> "pd.DataFrame":
        """Return the table in NAME.parquet for pandas. See `table`."""
        return self.table(name).to_pandas().infer_objects()

    def unreadable_file(self) -> Path | None:
        """Return a file of the run whose permissions forbid reading it, or None if there is none.

        Such a run may be finished, so it must not be trained again."""
        files = (self.record_file, self.checkpoint, *self.path.glob("*.parquet"))
        return next((file for file in files if os.path.exists(file) and not os.access(file, os.R_OK)), None)

    def check_readable(self) -> None:
        """Raise PermissionError if there is an `unreadable_file`."""
        if (file := self.unreadable_file()) is not None:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))

    def remove_left_checkpoint(self) -> None:
        """Delete the checkpoints of a finished run that was killed before it did so itself.

        Raises RunIsBusy if another process writes the run."""
        with self.locked():
            record = self.read()
            if record is not None and record.is_finished and record.keeps_checkpoint is False:
                for name in CHECKPOINTS:
                    (self.path / name).unlink(missing_ok=True)
                self.push()

    def lacks_weights(self, keep: KeepWeights) -> bool:
        """Return whether a finished run lacks weights that `keep` names, and could have them.

        Diverged runs have none to keep."""
        record = self.read()
        if record is None or record.status != "done" or record.no_weights is not None:
            return False
        is_mirror = self.remote is not None  # which has no copies of these files
        return any(
            name not in record.weights
            or (step is not None and record.weights[name].step != step)
            or not (is_mirror or (self.path / name).is_file())
            for name, step in keep.files(record.step or 0, record.final.chosen_step).items()
        )

    def again(self) -> "RunStore":
        """Return the store in which a finished run is trained again for its weights."""
        return RunStore(self.path / AGAIN / self.path.name)

    def adopt_weights(self) -> bool:
        """Take over the weights of the run that was trained `again`. Return whether its results are equal.

        If they are not, as on another processor, they replace the results here, which must belong to the
        weights. After a kill or an error, this can be called again: the copies here are complete before
        those of `again` are deleted."""
        again = self.again()
        before, trained = self.read(), again.read()
        assert trained is not None
        is_equal = before is not None and (before.final, before.hashes) == (trained.final, trained.hashes)
        kept = trained.weights
        if before is not None and is_equal:
            kept = {**before.weights, **trained.weights}
            record = before.changed(weights=kept, no_weights=trained.no_weights)
        else:
            record = trained
        replaced = [] if is_equal else list(again.path.glob("*.parquet"))
        for file in [*(again.path / name for name in trained.weights), *replaced]:
            with atomic(self.path / file.name) as temporary:
                shutil.copyfile(file, temporary)
        write_text(self.record_file, record.to_json())
        for file in self.path.glob(f"*{SUFFIX}"):
            if file.name not in kept:  # of results that were replaced
                file.unlink()
        self.forget_again()
        return is_equal

    def forget_again(self) -> None:
        """Delete the run that was trained `again`."""
        shutil.rmtree(self.path / AGAIN, ignore_errors=True)
        self.push()

    def is_finished(self) -> bool:
        """Return whether the run is a result and all its files are as they were written."""
        record = self.read()
        if record is None or not record.is_finished:
            return False
        try:
            names = {file.stem for file in self.path.glob("*.parquet")} | record.tables.keys()
            tables = {name: self.table(name, record.tables.get(name)) for name in names}
        except (OSError, ValueError):
            return False
        return len(tables.get("history", ())) > 0 and tables.keys() >= set(REQUIRED_TABLES)
