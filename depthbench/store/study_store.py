"""The directory of one study.

    results/<study>/study.toml                     the study as run, the results format, the hash of the data
    results/<study>/runs/<run-id>/run.json         the record: run, status, environment, final errors, timing
                                  history.parquet      one row per logged step
                                  layers.parquet       one row per probed step and layer
                                  predictions.parquet  one row per test image, if the run is done
                                  robustness.parquet   one row per corruption and strength, if requested
                                  coordinates.parquet  one row per step and block, if requested
                                  weights.safetensors  the weights of a run that is done (training/keeping.py)
    results/<study>/plugins/                       copies of the plug-ins that produced the runs

A record says `interrupted` from the start of a run until its end, so that a kill leaves a true record."""

import contextlib
import os
import re
import shutil
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import filelock

from depthbench.errors import BadInput, any_of
from depthbench.files import NotToml, read_toml, remove_partial_files, write_text
from depthbench.paths import URL, expand
from depthbench.plugins.loading import Plugin, loaded
from depthbench.store import plugin_copies
from depthbench.store.lease import LeaseIsHeld
from depthbench.store.mirror import shown
from depthbench.store.plugin_copies import write_copies
from depthbench.store.record import Record
from depthbench.store.remote import remote_of
from depthbench.store.run_store import LOCK, LOCK_SECONDS, RunIsBusy, RunStore
from depthbench.store.settings import conflicts
from depthbench.study.file import build, check_format, read_study
from depthbench.study.grid import grids_of, join_grids
from depthbench.study.model import Frontier, Study, Variant, Verdict
from depthbench.study.stored import StoredStudy
from depthbench.text import shell, single_line
from depthbench.training.settings import Evaluate

CHOSEN_BY_DATA = ("every", "train_size", "log_every")  # keys of [evaluate] that Study.resolve fills in
DISCARDED_BY_FRESH = ("runs", "report", "report-slides", "slurm", "tensorboard", plugin_copies.FOLDER)
INDEX, UNDECIDED = ".index.json", ".undecided.json"  # files next to study.toml
RUN_NAME = re.compile(r"(.+)-(\d+)-s(\d+)-[0-9a-f]+")
"""The name of the directory of a run, its run id: network, depth, seed and a digest."""
OURS = {LOCK, INDEX, UNDECIDED}
MERGING = ".merging"  # a folder for copies of runs (store/merge.py)
JOIN_SECONDS = 60.0
"""Seconds to wait for others that join a shared directory. Each takes milliseconds."""
SILENT_SECONDS = 2.0
"""Seconds to wait for them before saying so."""


def _check_loaded(study_file: Path, plugin: Path) -> None:
    """Raise BadInput unless this process has loaded `plugin`, because a stored study can come from anyone."""
    if loaded(plugin) is None:
        advice = f"load it with {shell('--plugin', plugin)}"
        raise BadInput(f"{study_file}: its plug-in {plugin} is not loaded; {advice}")


class StudyStore:
    """The directory of one study.

    For a URL it is a mirror. `fetch` brings it up to date, and everything that is stored is pushed.

    flags: the flags that choose another directory, for messages."""

    def __init__(self, path: str | Path, flags: str = "--results or --name"):
        self.flags = flags
        self.remote = remote_of(path)
        self.path = expand(path) if self.remote is None else self.remote.mirror
        self.study_file = self.path / "study.toml"
        self._content = ""  # of study.toml, once the study is opened
        self._plugins: list[Plugin] = []  # of the study
        self._is_shared = False  # opened, but not locked
        self._locks: list[filelock.BaseFileLock] = []
        self._locked_inode: int | None = None

    @property
    def location(self) -> Path | URL:
        """The directory, or its URL. It is what messages show."""
        return self.path if self.remote is None else self.remote.url

    def run(self, run_id: str) -> RunStore:
        """Return the directory of one run, whether or not it exists."""
        return RunStore(self.path / "runs" / run_id, self.remote)

    def fetch(self) -> None:
        """Bring the mirror of a URL up to date. Raises OSError if the network fails."""
        if self.remote is not None:
            self.remote.pull_study()

    def busy_runs(self, run_ids: Collection[str]) -> set[str]:
        """Return those runs that another process holds."""
        here = {run_id for run_id in run_ids if self.run(run_id).is_locked_here()}
        return here if self.remote is None else here | self.remote.busy_runs(set(run_ids) - here)

    def run_names(self) -> list[str]:
        """Return the names of the directories of all stored runs, sorted."""
        try:
            with os.scandir(self.path / "runs") as entries:
                return sorted(entry.name for entry in entries if entry.is_dir())
        except (FileNotFoundError, NotADirectoryError):  # no run has started
            return []

    def misplaced_files(self) -> list[Path]:
        """Return the files with the name of a run, where a directory should be, sorted."""
        try:
            with os.scandir(self.path / "runs") as entries:
                found = [
                    entry.path for entry in entries if RUN_NAME.fullmatch(entry.name) and entry.is_file()
                ]
        except OSError:
            return []
        return sorted(map(Path, found))

    def run_stores(self) -> list[RunStore]:
        """Return the directories of all stored runs, sorted by name."""
        return [self.run(name) for name in self.run_names()]

    def records(self) -> list[Record]:
        """Return the record of every readable run, sorted by name."""
        return [record for run_store in self.run_stores() if (record := run_store.read()) is not None]

    def table(self) -> dict[str, Any]:
        """Return the content of study.toml. The networks and plug-ins that it names need not exist.

        Raises BadInput if there is no study.toml, it is not valid TOML, it has another format, or a part that
        results depend on has the wrong type."""
        if not self.study_file.is_file():
            inside = sorted(shown(file.parent) for file in self.path.glob("*/study.toml"))
            advice = any_of(inside) if inside else "a directory that `depthbench run` made"
            raise BadInput(f"{self.location} holds no results (no study.toml): name {advice}")
        try:
            table = read_toml(self.study_file)
        except NotToml as error:
            raise BadInput(
                f"{shown(self.study_file)} is not valid TOML ({error}): fix it, or discard the stored "
                "results with `depthbench run --fresh`"
            ) from None
        check_format(table.get("format"), shown(self.study_file))
        build(StoredStudy, table, shown(self.study_file))
        return table

    def study(self) -> Study:
        """Return the stored study. No plug-in is executed that this process has not loaded already.

        Raises BadInput as `table` does, if the study is not valid, or if it names another plug-in."""
        self.table()
        return read_study(self.study_file, {}, check_consent=_check_loaded)

    def check(self, study: Study, data_hash: str, fresh: bool = False) -> None:
        """Raise BadInput unless `study` can be stored here. Writes nothing.

        More depths, seeds, networks and variants can join stored runs of the same data and recipe. Runs of
        other data or another recipe can only replace them (`fresh`). A directory that holds no study is
        never used, not even with `fresh`. But runs of `study` may remain in it after study.toml was
        deleted."""
        if not self._holds_only_runs_of(study, data_hash) and self.holds_a_study() and not fresh:
            self._check_settings(study, data_hash)
            self.check_code(study)

    def _holds_only_runs_of(self, study: Study, data_hash: str) -> bool:
        """Return whether the directory has no study.toml and only runs of `study` on the same images.

        So it remains if it is deleted while runs are saved."""
        if self.study_file.exists() or self.remote is not None or not self.path.is_dir():
            return False
        if {path.name for path in self.path.iterdir()} - {*DISCARDED_BY_FRESH, *OURS}:
            return False
        runs = {run.run_id for run in study.runs()}
        hashes = {record.hashes.data for record in self.records()}
        return runs.issuperset(self.run_names()) and hashes <= {data_hash}

    def with_stored_evaluation(self, study: Study, requested: Evaluate) -> Study:
        """Return `study` with the stored settings of evaluations where `requested` leaves them unset.

        Versions of depthbench choose them differently, and later runs must be evaluated like stored ones."""
        try:
            stored = self.table().get("evaluate", {})
        except BadInput:  # `check` raises it
            return study
        if "every" not in stored:  # the study file was written by hand
            return study
        kept = {key: stored.get(key) for key in CHOSEN_BY_DATA if getattr(requested, key) is None}
        return study.model_copy(update={"evaluate": study.evaluate.model_copy(update=kept)})

    def check_code(self, study: Study) -> None:
        """Raise BadInput if stored runs of a network in `study` used other versions of plug-ins."""
        runs = {run.network: run for run in study.runs()}
        for record in self.records():
            run = runs.get(record.network)
            if run is not None and run.plugin != record.plugin:
                edited = run.other_code(record.plugin)
                how = f"by another version of {' and of '.join(edited)}" if edited else "with other plug-ins"
                raise BadInput(
                    f"{self.location} holds runs of {record.network} {how}: add --name NAME to store the new "
                    "runs as another study"
                )

    @contextlib.contextmanager
    def opened(
        self, study: Study, data_hash: str, fresh: bool = False, *, shared: bool = False
    ) -> Iterator[None]:
        """Create and lock the directory, and add `study` to what is stored.

        With `shared`, the directory is locked only until `study` is added, so that other processes can open
        it in the same way. Then only the locks of the runs protect them.

        Raises BadInput as `check` does, or if the directory cannot be written or another process writes
        to it."""
        self.fetch()
        self.check(study, data_hash, fresh)  # before anything is written
        if shared:
            self._remove_partial_files()  # of dead processes only
            with self.locked(JOIN_SECONDS):
                if not self._holds_only_runs_of(study, data_hash) and self.holds_a_study():
                    self._check_settings(study, data_hash)
                self._add(study, data_hash)
            self._push_unfinished_saves()
            self._is_shared = True
            try:
                yield
            finally:
                self._is_shared = False
            return
        with self.locked():
            self.check(study, data_hash, fresh)  # again, now that no other process can write
            self._remove_partial_files()
            shutil.rmtree(self.path / MERGING, ignore_errors=True)  # nobody merges, because it is locked
            if fresh:
                self._discard()
            self._add(study, data_hash)
            self._push_unfinished_saves()
            yield

    def _add(self, study: Study, data_hash: str) -> None:
        """Add `study` to study.toml."""
        text = self._joined_with(study).to_toml()
        self._plugins = [plugin for path in study.plugins if (plugin := loaded(path)) is not None]
        self.replace(f'data_hash = "{data_hash}"\n{text}')

    def replace(self, content: str) -> None:
        """Write study.toml. The caller must have locked the directory."""
        self._content = content
        self._write()

    def _write(self) -> None:
        write_text(self.study_file, self._content)
        write_copies(self.path, self._plugins)
        if self.remote is not None:
            self.remote.push_study()
            self.push_plugins()

    def push_plugins(self) -> None:
        """Push the copies of plug-ins to the URL, if there is one."""
        if self.remote is not None and (self.path / plugin_copies.FOLDER).is_dir():
            self.remote.push_folder(plugin_copies.FOLDER)

    def _push_unfinished_saves(self) -> None:
        """Push runs that a killed process of this machine saved but did not push."""
        for run_store in self.run_stores():
            if self.remote is not None and self.remote.is_ahead(run_store.path.name):
                with contextlib.suppress(RunIsBusy), run_store.locked():
                    run_store.push()

    def restore(self) -> bool:
        """Write study.toml again if it was deleted while the study is opened. Return whether it was.

        Without it, later commands would refuse the directory and the runs in it. Raises BadInput if another
        process has used the directory since then."""
        if self._is_shared:
            if self._is_stored():
                return False
            with self.locked(JOIN_SECONDS):
                return self._write_again()
        if not self._locks:
            return False
        self.path.mkdir(parents=True, exist_ok=True)
        if self._lock_inode() != self._locked_inode:  # the file that was locked is gone
            try:
                self._acquire()
            except filelock.Timeout:
                problem = f"{self.location} was deleted, and another depthbench writes to it now"
                raise BadInput(problem) from None
        return self._write_again()

    def _write_again(self) -> bool:
        if self._is_stored():
            return False
        self._write()
        return True

    def _is_stored(self) -> bool:
        is_there = self.remote is None or self.study_file.name in self.remote.names()
        return is_there and self.study_file.exists()

    def _lock_inode(self) -> int | None:
        """Return the number of the lock file in the file system, or None without one."""
        with contextlib.suppress(OSError):
            return (self.path / LOCK).stat().st_ino
        return None

    def holds_a_study(self) -> bool:
        """Return whether a study is stored here. Raises BadInput if anything else is."""
        if self.path.exists() and not self.path.is_dir():
            raise BadInput(f"{self.location} is a file, not a directory: use another {self.flags}")
        if self.study_file.exists():
            return True
        if self.remote is not None:
            names = self.remote.names()
        else:
            names = {path.name for path in self.path.iterdir()} if self.path.is_dir() else set()
        names -= OURS
        if any(not name.endswith(".part") for name in names):  # study.toml being written
            raise BadInput(f"{self.location} holds other files but no study: use another {self.flags}")
        return False

    def _check_settings(self, study: Study, data_hash: str) -> None:
        stored = self.table()
        if "watched" in stored:
            raise BadInput(
                f"{self.location} holds runs that depthbench.watch recorded in another loop: add "
                "--name NAME to store the new runs as another study"
            )
        different = conflicts(stored, study.model_dump(mode="json") | {"data_hash": data_hash})
        if different:
            raise BadInput(
                f"{self.location} holds runs with other settings ({', '.join(different[:3])}): add --name "
                f"NAME to store the new runs as another study, or delete {self.location} (`depthbench run "
                "--fresh` does this)"
            )

    @contextlib.contextmanager
    def locked(self, seconds: float = 0.0) -> Iterator[None]:
        """Create and lock the directory. Raises BadInput if another process keeps it locked for `seconds`."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._acquire(seconds)
        except filelock.Timeout:
            raise BadInput(
                f"{self.location}: another depthbench is writing to it; wait until it ends, or use another "
                f"{self.flags}"
            ) from None
        except OSError as error:
            raise BadInput(
                f"{self.location} cannot be written ({error.strerror}): use another {self.flags}"
            ) from None
        try:
            with self._locked_remotely(seconds):
                yield
        finally:
            for lock in self._locks:
                lock.release()
            self._locks.clear()

    @contextlib.contextmanager
    def _locked_remotely(self, seconds: float) -> Iterator[None]:
        """Hold the lock at the URL, if there is one, and bring the mirror up to date."""
        if self.remote is None:
            yield
            return
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(self.remote.locked("", seconds, self._say_that_it_waits))
            except LeaseIsHeld as error:
                raise BadInput(
                    f"{self.location}: a depthbench on {error} is writing to it; wait until it ends, or use "
                    f"another {self.flags}"
                ) from None
            self.fetch()
            yield

    def _say_that_it_waits(self, host: str) -> None:
        line = f"{self.location}: waiting up to 90 s to see whether the depthbench on {host} is alive"
        print(f"depthbench: {single_line(line)}", file=sys.stderr)

    def _acquire(self, seconds: float = 0.0) -> None:
        """Lock the directory. Raises filelock.Timeout if another process keeps it locked for `seconds`."""
        lock = filelock.FileLock(self.path / LOCK, timeout=min(seconds, SILENT_SECONDS))
        try:
            lock.acquire()
        except filelock.Timeout:
            if seconds <= SILENT_SECONDS:
                raise
            line = f"{self.location}: waiting up to {seconds:.0f} s for another depthbench that writes to it"
            print(f"depthbench: {single_line(line)}", file=sys.stderr)
            lock.acquire(timeout=seconds)
        self._locks.append(lock)
        self._locked_inode = self._lock_inode()

    def _remove_partial_files(self) -> None:
        """Remove the temporary files that a kill in the middle of a write left behind."""
        remove_partial_files(self.path)

    def _discard(self) -> None:
        for discards in (False, True):  # nothing is deleted if a run is busy
            for run_store in self.run_stores():
                try:
                    with run_store.locked(LOCK_SECONDS):
                        if discards:
                            if self.remote is not None:
                                self.remote.remove_run(run_store.path.name)
                            shutil.rmtree(run_store.path, ignore_errors=True)
                except RunIsBusy as error:
                    raise BadInput(f"{error}; wait until it ends, or add --name NAME") from None
        for name in DISCARDED_BY_FRESH:
            shutil.rmtree(self.path / name, ignore_errors=True)
            if self.remote is not None:
                self.remote.remove_folder(name)
        for name in (INDEX, UNDECIDED):
            (self.path / name).unlink(missing_ok=True)
        self.study_file.unlink(missing_ok=True)

    def _joined_with(self, study: Study) -> Study:
        """Return `study` with the runs, variants and plug-ins of the stored study added to its own."""
        if not self.study_file.exists():
            return study
        stored = self.table()
        first, *also = join_grids([*grids_of(stored), study.grid, *study.also])
        own = self.path.resolve() / plugin_copies.FOLDER
        new = [
            path for path in study.plugins if not Path(path).is_relative_to(own)
        ]  # a copy is not a new one
        plugins = list(dict.fromkeys([*stored.get("plugins", []), *new]))
        variants = {
            name: build(Variant, values, f"{self.study_file}: variants.{name}")
            for name, values in stored.get("variants", {}).items()
        }
        variants |= study.variants
        joined = {"grid": first, "also": also, "plugins": plugins, "variants": variants}
        if stored.get("verdict"):  # a margin counts only if it was stated before the runs
            joined["verdict"] = Verdict(**study.verdict.model_dump(exclude_none=True) | stored["verdict"])
        if study.frontier is None and "frontier" in stored:
            joined["frontier"] = Frontier(**stored["frontier"])
        return study.model_copy(update=joined)
