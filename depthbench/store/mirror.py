"""The mirror of a URL: a directory in the user's cache that holds copies of its files.

Each folder of a mirror has a file `.remote.json`. It says which version of each file was last pulled or
pushed. Only changed files are transferred, and changes at the URL are distinguished from changes in the
mirror."""

import contextlib
import hashlib
import json
import os
import re
import socket
from collections.abc import Collection, Mapping
from pathlib import Path

import platformdirs

from depthbench.errors import BadInput
from depthbench.files import write_text
from depthbench.paths import URL
from depthbench.store.files_at import FilesAt, Fingerprint

ADDRESS = ".url"  # the file in the root of a mirror that names what it mirrors
STATE = ".remote.json"
CHECKPOINTS = CHECKPOINT, EARLIER_CHECKPOINT = "checkpoint.pt", "checkpoint.before.pt"
AGAIN = "again"
"""The folder in which a finished run is trained again, until its weights are complete."""
RECORD, PAGE = "run.json", "index.html"
COMMITS = (RECORD, PAGE)  # files that complete a save: they are written after all others of their folder
ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "STORAGE_EMULATOR_HOST")
"""Environment variables that direct a URL to another server, which needs another mirror."""

Versions = Mapping[str, Fingerprint]
"""The files of a folder at the URL, by name."""


def mirror_of(url: URL) -> Path:
    """Return the directory that mirrors `url`, and create its root. Raises BadInput if that fails."""
    protocol, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    address = f"{protocol}://{host}"
    servers = [os.environ.get(name, "") for name in ENDPOINTS]
    digest = hashlib.sha256("\n".join([address, *servers]).encode()).hexdigest()[:8]
    readable = re.sub(r"[^\w.-]+", "-", f"{protocol}-{host}" if host else protocol)[:80]
    root = _mirrors() / f"{readable}-{digest}"
    if not (root / ADDRESS).is_file():
        try:
            root.mkdir(parents=True, exist_ok=True)
            write_text(root / ADDRESS, address)
        except OSError as error:
            raise BadInput(
                f"{url}: its mirror {root} cannot be written ({error.strerror}); set XDG_CACHE_HOME to "
                "another folder"
            ) from None
    return root / path


def url_of(path: Path) -> URL | None:
    """Return the URL that a directory or file of a mirror stands for. None for any other path."""
    path, mirrors = Path(os.path.abspath(path)), _mirrors()
    if not path.is_relative_to(mirrors) or path == mirrors:
        return None
    root = mirrors / path.relative_to(mirrors).parts[0]
    with contextlib.suppress(OSError):
        address = (root / ADDRESS).read_text(encoding="utf-8")
        return URL(f"{address}/{path.relative_to(root).as_posix()}".removesuffix("/."))
    return None


def shown(path: Path) -> str:
    """Return a path as the user wrote it: the URL instead of its mirror."""
    return str(url_of(path) or path)


def _mirrors() -> Path:
    return Path(platformdirs.user_cache_dir("depthbench"), "results").resolve()


class Folder:
    """A folder of a mirror, and what is known of its files at the URL."""

    def __init__(self, path: Path, files: FilesAt, prefix: str = ""):
        self.path, self.files = path, files
        self.prefix = f"{prefix}/" if prefix else ""
        """The beginning of the names of its files at the URL."""
        self._known: dict[str, tuple[Fingerprint, Fingerprint | None]] = {}
        """The versions of the files that were last equal: name -> (at the URL, in the mirror)."""
        self._is_pushing = False
        """Whether a push began and did not end."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            state = json.loads((path / STATE).read_text(encoding="utf-8"))
            self._known = {name: (there, here) for name, (there, here) in state["files"].items()}
            self._is_pushing = state["is_pushing"]

    @property
    def was_synced(self) -> bool:
        """Whether anything of it was ever pulled or pushed."""
        return bool(self._known)

    def is_behind(self, versions: Versions, *, ignoring: Collection[str] = ()) -> bool:
        """Return whether the mirror lacks a version that is at the URL, or has a file that was deleted there.

        ignoring: files that the mirror may lack."""
        wanted = versions.keys() - set(ignoring)
        return any(not self._is_equal(name, versions[name]) for name in wanted) or any(
            name not in versions for name in self._known
        )

    def is_ahead(self, versions: Versions) -> bool:
        """Return whether the mirror holds a save that was not pushed, and nobody else has saved since.

        If the run was deleted at the URL, the save counts: it may be the only copy of a result."""
        there, _ = self._known.get(RECORD, (None, None))
        return self.has_own_changes() and versions.get(RECORD) in (there, None)

    def has_own_changes(self) -> bool:
        """Return whether the mirror holds a save that was not pushed completely."""
        saved = {name: here for name in (RECORD, CHECKPOINT) if (here := self._here(name)) is not None}
        return self._is_pushing or any(
            name not in self._known or self._known[name][1] != here for name, here in saved.items()
        )

    def pull(self, versions: Versions) -> None:
        """Make the folder equal to the one at the URL. Files that were never there are kept."""
        if self.is_behind(versions):
            self.files.download(self.downloads(versions))
            self.accept(versions)

    def pull_file(self, name: str, version: Fingerprint | None) -> None:
        """Make one file equal to the one at the URL, which has this version or does not exist."""
        if version is None:
            if self._known.pop(name, None) is not None:
                (self.path / name).unlink(missing_ok=True)
                self._save()
        elif not self._is_equal(name, version):
            self.files.download(self.downloads({name: version}))
            self._accept_file(name, version)
            self._save()

    def downloads(self, versions: Versions, *, ignoring: Collection[str] = ()) -> dict[str, Path]:
        """Return what to download: name at the URL -> temporary path."""
        names = versions.keys() - set(ignoring)
        wanted = {name: self._temporary(name) for name in names if not self._is_equal(name, versions[name])}
        for file in wanted.values():
            file.parent.mkdir(parents=True, exist_ok=True)
        return {f"{self.prefix}{name}": file for name, file in wanted.items()}

    def accept(self, versions: Versions) -> None:
        """Put downloaded files in place, and delete those that were deleted at the URL."""
        self.path.mkdir(parents=True, exist_ok=True)
        for name in self._known.keys() - versions.keys():
            (self.path / name).unlink(missing_ok=True)
            del self._known[name]
        for name in sorted(versions, key=_order):
            with contextlib.suppress(FileNotFoundError):  # it was equal already
                self._accept_file(name, versions[name])
        self._is_pushing = False
        self._save()

    def _accept_file(self, name: str, version: Fingerprint) -> None:
        os.replace(self._temporary(name), self.path / name)
        self._known[name] = (version, self._here(name))

    def push(self, names: Collection[str], versions: Versions) -> None:
        """Make the files `names` at the URL, which holds `versions`, equal to those of the mirror.

        New files come first, then the one that completes the save (COMMITS), then deletions."""
        here = {name: self._here(name) for name in names}
        changed = {name for name in names if not self._is_equal(name, versions.get(name))}
        gone = [name for name in versions if name in self._known and name not in here]
        if not changed and not gone and not self._is_pushing:
            return
        self._is_pushing = True
        self._save()
        if EARLIER_CHECKPOINT in changed and self._was_checkpoint(here[EARLIER_CHECKPOINT], versions):
            self.files.copy(f"{self.prefix}{CHECKPOINT}", f"{self.prefix}{EARLIER_CHECKPOINT}")
            changed.remove(EARLIER_CHECKPOINT)
        for name in sorted(changed, key=_order):
            self.files.upload(self.path / name, f"{self.prefix}{name}")
        for name in gone:
            self.files.delete(f"{self.prefix}{name}")
            del self._known[name]
        pushed = self.files.list(self.prefix.rstrip("/"), is_deep=bool(self.prefix))
        self._known |= {name: (pushed[name], here[name]) for name in names if name in pushed}
        self._is_pushing = False
        self._save()

    def _temporary(self, name: str) -> Path:
        """Return where a file is stored while it is downloaded. See files.remove_partial_files."""
        file = self.path / name
        return file.with_name(f".{file.name}.{socket.gethostname()}-{os.getpid()}.pulled.part")

    def _is_equal(self, name: str, there: Fingerprint | None) -> bool:
        """Return whether a file is as it was when it was last equal at both places."""
        known = self._known.get(name)
        return known is not None and there is not None and known == (there, self._here(name))

    def _was_checkpoint(self, here: Fingerprint | None, versions: Versions) -> bool:
        """Return whether the previous checkpoint is the renamed copy of the checkpoint at the URL."""
        return here is not None and self._known.get(CHECKPOINT) == (versions.get(CHECKPOINT), here)

    def _here(self, name: str) -> Fingerprint | None:
        try:
            stat = os.stat(self.path / name)
        except OSError:
            return None
        return [stat.st_size, stat.st_mtime_ns, stat.st_ino]

    def _save(self) -> None:
        state = {"is_pushing": self._is_pushing, "files": self._known}
        write_text(self.path / STATE, json.dumps(state))


def _order(name: str) -> tuple[bool, bool, str]:
    """Sort files so that the commit comes last, after the checkpoints and tables."""
    return name in COMMITS, not name.startswith("checkpoint"), name
