"""Results at a URL that fsspec can reach, such as s3://bucket/folder/study.

The code that reads and writes results works in a mirror (store/mirror.py). Files are pulled into it before
they are read, and pushed after each save. The run.json of a run is pushed after its other files, so a kill at
any moment leaves a valid state at the URL.

If a run changed at the URL, the mirror follows. If it changed only in the mirror, because a process was
killed or the network failed before everything was pushed, the next command that trains pushes it."""

import contextlib
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path

import filelock

from depthbench.errors import BadInput
from depthbench.paths import URL, locate
from depthbench.store.files_at import FilesAt, Fingerprint
from depthbench.store.lease import Lease, held
from depthbench.store.mirror import (
    AGAIN,
    CHECKPOINTS,
    PAGE,
    RECORD,
    Folder,
    Versions,
    mirror_of,
    url_of,
)
from depthbench.training.keeping import SUFFIX

LOCK, STUDY = ".lock", "study.toml"
PLUGINS = "plugins"  # a folder (store/plugin_copies.py)
REPORT, COMPARISONS = "report", "comparisons"  # folders
BATCH = 100  # runs that are pulled at once


class Remote:
    """The directory of a study at a URL, and its mirror on this machine.

    Methods that transfer files raise OSError if that fails, after retries, and BadInput if the URL cannot be
    used at all."""

    def __init__(self, url: str):
        location = locate(url)
        if not isinstance(location, URL):
            raise BadInput(f"{url}: is not a URL; write e.g. s3://bucket/folder")
        self.url = location
        self.mirror = mirror_of(location)
        self.files = FilesAt(location)
        self._leases: dict[str, Lease] = {}

    def check_writable(self) -> None:
        """Raise BadInput unless files can be written to the URL."""
        self.files.check_writable(".depthbench")

    def names(self) -> set[str]:
        """Return the names of the files and folders at the URL."""
        return set(self.files.list(is_deep=False))

    def pull_study(self) -> None:
        """Bring the mirror up to date, without checkpoints, weights and reports, but with copies of plug-ins.

        Runs that a process of this machine is writing are left as they are."""
        listed = self.files.list()
        self._root().pull_file(STUDY, listed.get(STUDY))
        of_plugins = f"{PLUGINS}/"
        self._folder(PLUGINS).pull(
            {name.removeprefix(of_plugins): listed[name] for name in listed if name.startswith(of_plugins)}
        )
        runs = _by_run(listed)
        for run_id in self._mirrored_runs() - runs.keys():
            self._forget(run_id)
        behind = [
            run_id
            for run_id, versions in runs.items()
            if self._run(run_id).is_behind(versions, ignoring=_of_training(versions))
        ]
        if not behind:
            return
        # A finished run's tables are at least as new as its record, so they are listed after it is read.
        records = self.files.read_many([f"runs/{run_id}/{RECORD}" for run_id in behind])
        newer = _by_run(self.files.list())
        for start in range(0, len(behind), BATCH):
            versions = {}
            for run_id in behind[start : start + BATCH]:
                versions[run_id] = newer.get(run_id, {})
                versions[run_id].pop(RECORD, None)
                if f"runs/{run_id}/{RECORD}" in records and RECORD in runs[run_id]:
                    versions[run_id][RECORD] = runs[run_id][RECORD]
            self._pull_runs(versions, records)

    def _pull_runs(self, versions: Mapping[str, Versions], records: Mapping[str, bytes]) -> None:
        """Pull the tables of runs, and store the records that were read before."""
        downloads: dict[str, Path] = {}
        free: list[Folder] = []
        with contextlib.ExitStack() as locks:
            for run_id in versions:
                if locks.enter_context(_unless_locked(self._path(run_id))):
                    folder = self._run(run_id)
                    if not folder.is_ahead(versions[run_id]):
                        free.append(folder)
                        downloads |= folder.downloads(
                            versions[run_id], ignoring=_of_training(versions[run_id])
                        )
            for name in downloads.keys() & records.keys():
                downloads.pop(name).write_bytes(records[name])
            self.files.download(downloads)
            for folder in free:
                folder.accept(versions[folder.path.name])

    def pull_run(self, run_id: str) -> None:
        """Bring the mirror of a run that this process has locked up to date, with its checkpoints."""
        folder = self._run(run_id)
        versions = self.files.list(f"runs/{run_id}")
        if not folder.is_ahead(versions):
            folder.pull(versions)

    def push_study(self) -> None:
        """Push study.toml if it has changed or is missing at the URL."""
        self._check_lease("")
        self.push_file(STUDY)

    def pull_file(self, name: str) -> None:
        """Pull a file that is not in a folder, or delete it from the mirror if it is gone."""
        self._root().pull_file(name, self.files.list(is_deep=False).get(name))

    def push_file(self, name: str) -> None:
        """Push a file that is not in a folder."""
        self._root().push((name,), self.files.list(is_deep=False))

    def push_run(self, run_id: str) -> None:
        """Push the changed files of a run: checkpoints and tables, then run.json. Then delete others.

        Also raises OSError if another process has taken over the run."""
        self._check_lease(run_id)
        folder = self._run(run_id)
        folder.push(_visible_files(folder.path), self.files.list(f"runs/{run_id}"))

    def busy_runs(self, run_ids: Collection[str]) -> set[str]:
        """Return those runs that another process holds. See lease.held."""
        names = {f"runs/{run_id}/{LOCK}": run_id for run_id in run_ids}
        return {names[name] for name in held(self.files, names)}

    def is_ahead(self, run_id: str) -> bool:
        """Return whether the mirror holds a save of a run that was not pushed."""
        folder = self._run(run_id)
        return (folder.path / RECORD).is_file() and folder.has_own_changes()

    def remove_run(self, run_id: str) -> None:
        """Delete a run that this process has locked at the URL, its run.json last."""
        self._check_lease(run_id)
        self.remove_folder(f"runs/{run_id}")

    def push_folder(self, name: str) -> None:
        """Make a folder at the URL, e.g. report, equal to the one in the mirror."""
        path = self.mirror / name
        self._folder(name).push(_visible_files(path), self.files.list(name))

    def pull_folder(self, name: str) -> None:
        """Make a folder in the mirror equal to the one at the URL."""
        self._folder(name).pull(self.files.list(name))

    def remove_folder(self, name: str) -> None:
        """Delete a folder at the URL."""
        for file in sorted(self.files.list(name), key=lambda file: (file == RECORD, file)):
            self.files.delete(f"{name}/{file}")

    @contextlib.contextmanager
    def locked(
        self, run_id: str = "", timeout: float = 0.0, waiting: Callable[[str], None] = lambda host: None
    ) -> Iterator[None]:
        """Hold the lock of a run at the URL, or that of the study if `run_id` is empty.

        timeout: seconds to wait for another process. Raises LeaseIsHeld after that. See Lease.acquire."""
        lease = Lease(self.files, f"runs/{run_id}/{LOCK}" if run_id else LOCK)
        lease.acquire(timeout, waiting)
        self._leases[run_id] = lease
        try:
            yield
        finally:
            del self._leases[run_id]
            lease.release()

    def _check_lease(self, run_id: str) -> None:
        """Raise OSError if the lock was lost, for example because this machine was suspended."""
        if run_id in self._leases:
            self._leases[run_id].check()

    def _folder(self, name: str) -> Folder:
        return Folder(self.mirror / name, self.files, name)

    def _root(self) -> Folder:
        return Folder(self.mirror, self.files)

    def _run(self, run_id: str) -> Folder:
        return Folder(self._path(run_id), self.files, f"runs/{run_id}")

    def _path(self, run_id: str) -> Path:
        return self.mirror / "runs" / run_id

    def _mirrored_runs(self) -> set[str]:
        try:
            with os.scandir(self.mirror / "runs") as entries:
                return {entry.name for entry in entries if entry.is_dir()}
        except OSError:
            return set()

    def _forget(self, run_id: str) -> None:
        """Delete a run from the mirror that was deleted at the URL. A save that was never pushed is kept."""
        folder = self._run(run_id)
        if folder.was_synced and not folder.is_ahead({}):
            with _unless_locked(folder.path) as is_free:
                if is_free:
                    shutil.rmtree(folder.path, ignore_errors=True)


def remote_of(path: str | Path) -> Remote | None:
    """Return the directory at a URL that `path` names or mirrors. None for any other directory."""
    location = locate(path)
    url = location if isinstance(location, URL) else url_of(location)
    return None if url is None else Remote(url)


def fetch(path: str | Path) -> Path:
    """Return a results directory as a path of this machine. The mirror of a URL is brought up to date.

    Raises BadInput for a URL that cannot be read."""
    location = locate(path)
    if not isinstance(location, URL):
        return location
    remote = Remote(location)
    with _as_bad_input():
        remote.pull_study()
    return remote.mirror


def fetch_all(path: str | Path) -> Path:
    """Return a folder of results directories as `fetch` does, with the studies and reports in it."""
    location = locate(path)
    if not isinstance(location, URL):
        return location
    remote = Remote(location)
    with _as_bad_input():
        if STUDY in (names := remote.names()):
            return fetch(location)
        for name in sorted(names):
            study = Remote(location / name)
            if STUDY in study.names():
                study.pull_study()
                study.pull_folder(REPORT)
        remote.pull_folder(COMPARISONS)
    return remote.mirror


def fetch_file(url: URL) -> Path:
    """Return a file at a URL as a path of this machine. Raises BadInput if there is no such file."""
    parent, _, name = url.rpartition("/")
    remote = Remote(parent)
    with _as_bad_input():
        remote.pull_file(name)
    if not (remote.mirror / name).is_file():
        raise BadInput(f"{url}: there is no such file")
    return remote.mirror / name


def folder_of(path: str | Path) -> Path:
    """Return a folder to write to as a path of this machine. `push` then pushes what is in it."""
    location = locate(path)
    return mirror_of(location) if isinstance(location, URL) else location


def push_page(folder: Path) -> None:
    """Push the index.html of a mirror. Does nothing for any other folder."""
    if (url := url_of(folder)) is not None:
        Remote(url).push_file(PAGE)


def push(path: Path) -> None:
    """Push a folder of a mirror, e.g. a report, to its URL. Does nothing for any other folder."""
    if (url := url_of(path)) is not None:
        parent, _, name = url.rpartition("/")
        Remote(parent).push_folder(name)


@contextlib.contextmanager
def _as_bad_input() -> Iterator[None]:
    """Raise BadInput in place of OSError: a command that only reads cannot continue without its input."""
    try:
        yield
    except OSError as error:
        raise BadInput(str(error)) from None


def _by_run(versions: Versions) -> dict[str, dict[str, Fingerprint]]:
    """Group the files of a study by run: run id -> name -> version."""
    runs: dict[str, dict[str, Fingerprint]] = defaultdict(dict)
    for name, version in versions.items():
        parts = name.split("/")
        if len(parts) == 3 and parts[0] == "runs":
            runs[parts[1]][parts[2]] = version
    return dict(runs)


def _of_training(names: Iterable[str]) -> set[str]:
    """Return the files of a run that hold its weights or that only training needs. They can be large."""
    return {name for name in names if name in CHECKPOINTS or name.endswith(SUFFIX) or name.startswith(AGAIN)}


def _visible_files(folder: Path) -> list[str]:
    """Return the names of the files below a folder, without hidden ones."""
    names = (file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    return sorted(name.as_posix() for name in names if not any(part.startswith(".") for part in name.parts))


@contextlib.contextmanager
def _unless_locked(folder: Path) -> Iterator[bool]:
    """Lock a folder of a mirror if no process of this machine writes to it. Yield whether that is so."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
