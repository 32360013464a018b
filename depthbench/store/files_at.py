"""Read and write the files of a directory at a URL through fsspec, with retries and one-line messages."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from depthbench.errors import BadInput, one_line
from depthbench.paths import URL

RETRY_SECONDS = {"read": 10.0, "written": 60.0}
"""Seconds after which a request that keeps failing is given up. Writes get more time, so that no result
is lost."""
LONGEST_PAUSE = 16.0  # seconds between two attempts
ATOMIC = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "oss", "memory"}
"""The protocols of stores in which a file appears complete or not at all. They have no directories."""
EXTRAS = {"s3": "s3", "s3a": "s3"}
"""The extra of depthbench that installs what a protocol needs."""
PERMANENT = (
    FileNotFoundError,
    FileExistsError,
    PermissionError,
    IsADirectoryError,
    NotADirectoryError,
    NotImplementedError,
    TypeError,
    ValueError,
)
VERSIONS = (
    "ETag",
    "etag",
    "md5Hash",
    "content_md5",
    "checksum",
    "mtime",
    "LastModified",
    "modified",
    "created",
)
"""Keys of a listing whose values change with the content of a file. The first one present is used."""

NO_BUCKET = re.compile("bucket does not exist|NoSuchBucket|container does not exist", re.IGNORECASE)
"""Messages for a missing bucket, in contrast to a missing file."""


class NoBucket(PermissionError):
    """A bucket does not exist. fsspec reports this as a missing file."""


Fingerprint = list[Any]
"""Identifies a version of a file. A value of JSON."""
T = TypeVar("T")


class FilesAt:
    """The files of the directory `url`, which need not exist. Names are relative to it.

    Methods raise OSError if they fail, after retries for up to a minute. They raise BadInput if fsspec has no
    such protocol or lacks a package for it."""

    def __init__(self, url: URL):
        self.url = url
        self.is_exclusive = True
        """Whether `create` never replaces a file, as far as is known."""

    def list(self, folder: str = "", *, is_deep: bool = True) -> dict[str, Fingerprint]:
        """Return the files in `folder` by their names in it, with fingerprints. Hidden files are left out.

        With `is_deep`, files in folders of it are listed too. Without, these folders are."""
        root = self._path(folder)

        def entries() -> list[Mapping[str, Any]]:
            self._fs.invalidate_cache()
            try:
                if is_deep:
                    return list(self._fs.find(root, detail=True).values())
                return list(self._fs.ls(root, detail=True))
            except FileNotFoundError as error:
                if NO_BUCKET.search(str(error)):
                    raise NoBucket(str(error)) from None
                return []  # nothing has been written yet

        listed = {
            entry["name"].removeprefix(root).strip("/"): entry for entry in self._retry("read", entries)
        }
        return {name: _fingerprint(entry) for name, entry in listed.items() if not _is_hidden(name)}

    def read(self, name: str) -> bytes | None:
        """Return the content of a file, or None if there is none."""
        try:
            return self._retry("read", lambda: self._fs.cat_file(self._path(name)))
        except FileNotFoundError:
            return None

    def read_many(self, names: Sequence[str]) -> dict[str, bytes]:
        """Return the contents of those files that exist."""
        paths = {self._path(name): name for name in names}
        if not paths:
            return {}

        def read() -> dict[str, bytes]:
            contents = self._fs.cat(list(paths), on_error="return")
            found = {
                name: contents[path]
                for path, name in paths.items()
                if not isinstance(contents[path], FileNotFoundError)
            }
            for content in found.values():
                if isinstance(content, Exception):  # not the same as a missing file
                    raise content
            return found

        return self._retry("read", read)

    def download(self, names: Mapping[str, Path]) -> None:
        """Copy files to paths on this machine."""
        if names:
            sources, targets = [self._path(name) for name in names], [str(path) for path in names.values()]
            self._retry("read", lambda: self._fs.get(sources, targets))

    def upload(self, file: Path, name: str) -> None:
        """Copy a file of this machine. It replaces another one when it is complete."""

        def put() -> None:
            if self._is_atomic:
                self._fs.put_file(str(file), self._path(name))
                return
            target = self._path(name)
            folder, _, last = target.rpartition("/")
            self._fs.makedirs(folder, exist_ok=True)
            self._fs.put_file(str(file), f"{folder}/.{last}.part")
            self._fs.mv(f"{folder}/.{last}.part", target)

        self._retry("written", put)

    def write(self, name: str, content: bytes) -> None:
        """Replace a small file."""
        self._retry("written", lambda: self._fs.pipe_file(self._path(name), content))

    def create(self, name: str, content: bytes) -> bool:
        """Create a small file, and return whether it was created. Does not replace one that exists."""

        def make() -> bool:
            path = self._path(name)
            if not self._is_atomic:
                self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
            try:
                self._fs.pipe_file(path, content, mode="create")
            except FileExistsError:
                return False
            except Exception as error:
                if not _is_unsupported(error):
                    raise
                self.is_exclusive = False
                if self._fs.exists(path):
                    return False
                self._fs.pipe_file(path, content)
            return True

        return self._retry("written", make)

    def copy(self, source: str, target: str) -> None:
        """Copy a file to another name without transferring it to this machine, if the store can do that."""
        self._retry("written", lambda: self._fs.cp_file(self._path(source), self._path(target)))

    def delete(self, name: str) -> None:
        """Delete a file, if it exists."""

        def remove() -> None:
            try:
                self._fs.rm_file(self._path(name))
            except FileNotFoundError:
                return

        self._retry("written", remove)

    def check_writable(self, name: str) -> None:
        """Write and delete a small file `name`. Raises BadInput if that fails. Does not retry."""
        path = self._path(name)
        try:
            if not self._is_atomic:
                self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._fs.pipe_file(path, b"")
            self._fs.rm_file(path)
        except Exception as error:
            raise BadInput(
                f"{self.url} cannot be written ({_reason(error)}): use another --results"
            ) from None

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    @property
    def _fs(self) -> Any:
        return self._connected[0]

    @property
    def _root(self) -> str:
        return self._connected[1].rstrip("/")

    @property
    def _is_atomic(self) -> bool:
        return self.url.partition("://")[0] in ATOMIC

    @cached_property
    def _connected(self) -> tuple[Any, str]:
        """The file system, and the path of the directory in it."""
        return connect(self.url)

    def _retry(self, verb: str, call: Callable[[], T]) -> T:
        """Return what `call` returns. Repeats it if it fails for a reason that may pass."""
        deadline, pause = time.monotonic() + RETRY_SECONDS[verb], 1.0
        while True:
            try:
                return call()
            except Exception as error:
                if isinstance(error, BadInput) or (isinstance(error, FileNotFoundError) and verb == "read"):
                    raise
                if _is_permanent(error) or time.monotonic() + pause > deadline:
                    raise OSError(f"{self.url} cannot be {verb} ({_reason(error)})") from error
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


def connect(url: URL) -> tuple[Any, str]:
    """Return the file system of a URL, and the path in it. Raises BadInput if there is none."""
    from fsspec.core import url_to_fs

    protocol = url.partition("://")[0]
    try:
        return url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        extra = EXTRAS.get(protocol)
        advice = f"run pip install 'depthbench[{extra}]'" if extra else one_line(error).partition(": ")[2]
        raise BadInput(f"{url}: the package for {protocol}:// is not installed; {advice}") from None
    except ValueError as error:
        if "rotocol" in str(error):
            raise BadInput(f"{url}: no such protocol; use a path, or a URL that fsspec knows") from None
        raise BadInput(f"{url} cannot be used ({_reason(error)})") from None
    except Exception as error:
        raise BadInput(f"{url} cannot be used ({_reason(error)})") from None


def _fingerprint(entry: Mapping[str, Any]) -> Fingerprint:
    version = next((str(entry[key]) for key in VERSIONS if entry.get(key) is not None), "")
    return [entry.get("size"), version, str(entry.get("ino", ""))]


def _is_hidden(name: str) -> bool:
    return not name or any(part.startswith(".") for part in name.split("/"))


def _is_permanent(error: Exception) -> bool:
    return isinstance(error, PERMANENT) or "Credential" in type(error).__name__


def _is_unsupported(error: Exception) -> bool:
    return isinstance(error, NotImplementedError | TypeError | ValueError) or "NotImplemented" in str(error)


def _reason(error: Exception) -> str:
    return one_line(error).rstrip(".: ")
