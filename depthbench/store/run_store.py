"""The directory of one run."""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock

from depthbench.files import atomic, write_text
from depthbench.store.record import REQUIRED_TABLES, Record, Table
from depthbench.study.file import check_format

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

LOCK = ".lock"
LOCK_SECONDS = 10.0
"""Seconds to wait for the process that holds a run. An orphan ends sooner (execution/process.py)."""


class RunIsBusy(RuntimeError):
    """Another process is writing to a run."""


class RunStore:
    """The directory of one run."""

    def __init__(self, path: Path):
        self.path = path
        self.record_file = path / "run.json"
        self.checkpoint = path / "checkpoint.pt"
        self.written: dict[str, Table] = {}
        """The tables written by this object, for the record."""

    @contextlib.contextmanager
    def locked(self, timeout: float = 0.0) -> Iterator[None]:
        """Hold the run for writing. The system releases it when the process that holds it dies.

        timeout: seconds to wait for another process. Raises RunIsBusy after that."""
        self.path.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(self.path / LOCK)
        try:
            lock.acquire(timeout)
        except filelock.Timeout:
            raise RunIsBusy(f"{self.path}: another process is writing to it") from None
        try:
            yield
        finally:
            lock.release()

    def is_locked(self) -> bool:
        """Return whether another process holds the run. Creates nothing."""
        if not (self.path / LOCK).exists():
            return False
        try:
            with self.locked():
                return False
        except RunIsBusy:
            return True
        except OSError:  # whoever writes the run reports it
            return False

    def read(self) -> Record | None:
        """Return the content of run.json, or None if the file is missing, unreadable, or of another run.

        Raises BadInput for a record of another results format, which can differ in any key."""
        try:
            text = self.record_file.read_text(encoding="utf-8")
            values = json.loads(text)
            if "\\ud" in text.lower():  # half of a character, which cannot be written anywhere
                json.dumps(values, ensure_ascii=False).encode()
        except (OSError, ValueError, RecursionError):  # RecursionError: thousands of nested brackets
            return None
        if isinstance(values, dict) and "status" in values:
            check_format(values.get("format"), self.record_file)
        try:
            record = Record.model_validate(values)
        except ValueError:
            return None
        return record if record.run_id == self.path.name else None

    def write(self, record: Record) -> None:
        """Replace run.json."""
        write_text(self.record_file, record.to_json())

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

        content = (self.path / f"{name}.parquet").read_bytes()
        if expected is not None and hashlib.sha256(content).hexdigest() != expected.sha256:
            raise ValueError(f"{name}.parquet is not the file that was written")
        table = ParquetFile(BufferReader(content)).read(use_threads=False)
        if expected is not None and len(table) != expected.rows:
            raise ValueError(f"{name}.parquet has {len(table)} rows, not {expected.rows}")
        return table

    def frame(self, name: str) -> "pd.DataFrame":
        """Return the table in NAME.parquet for pandas. See `table`."""
        return self.table(name).to_pandas().infer_objects()

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
