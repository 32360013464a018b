"""Files that are never half written, and TOML files."""

import contextlib
import errno
import itertools
import os
import re
import socket
import stat
import tempfile
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

DAY = 24 * 60 * 60  # seconds
MOST_NESTED = 50  # levels of tables and arrays in a TOML file
PART = ".part"  # the end of the names of temporary files


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to. On success it replaces `path`, and on an error it is removed.

    A kill at any moment leaves either the old file or the complete new one. An OSError names `path`."""
    with _naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        prefix = f".{path.name}.{socket.gethostname()}-{os.getpid()}."  # see remove_partial_files
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=PART)
        os.close(handle)
        with _replacing(path, Path(name)) as temporary:
            yield temporary


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Make an OSError name `path`, also if it names a temporary file or, as for a full disk, no file."""
    try:
        yield
    except OSError as error:
        of_write = error.filename is None and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO)
        if of_write or str(error.filename).endswith(PART):
            error.filename, error.filename2 = str(path), None
        raise


@contextmanager
def _replacing(path: Path, temporary: Path) -> Iterator[Path]:
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())  # mkstemp creates files that only the owner can read
        if path.is_dir() and not path.is_symlink():
            _move_aside(path)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Create a folder and its parents. A file in its place is moved aside."""
    if os.path.lexists(path) and not path.is_dir():
        _move_aside(path)
    path.mkdir(parents=True, exist_ok=True)


def _move_aside(path: Path) -> None:
    """Give what is in the place of a file or folder of ours another name. An empty folder is removed."""
    with contextlib.suppress(OSError):
        path.rmdir()
        return
    names = (path.with_name(f"{path.name}.moved-{number}") for number in itertools.count(1))
    path.rename(next(name for name in names if not os.path.lexists(name)))


def remove_partial_files(folder: Path) -> None:
    """Remove the temporary files of `atomic` below `folder` whose process on this machine has died.

    Files older than a day are removed whichever process wrote them, because no write takes that long."""
    host = re.escape(socket.gethostname())
    for file in folder.rglob(".*.part"):
        match = re.search(rf"\.{host}-(\d+)\.[^.]+\.part$", file.name)
        is_dead = match is not None and not psutil.pid_exists(int(match[1]))
        with contextlib.suppress(OSError):  # its process may have renamed it just now
            if is_dead or time.time() - file.stat().st_mtime > DAY:
                file.unlink()


def read_regular(path: Path) -> bytes:
    """Return the content of a results file, which may come from anyone.

    Raises OSError for anything but a regular file: a pipe can block forever, and a device may have no end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Not a regular file", str(path))
        with open(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` in UTF-8. See `atomic`."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _umask() -> int:
    mask = os.umask(0)  # the only way to read it is to set it
    os.umask(mask)
    return mask


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file. A byte order mark is skipped. Raises NotToml and OSError."""
    try:
        return parse_toml(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise NotToml(str(error)) from None


def parse_toml(text: str) -> dict[str, Any]:
    """Return the content of TOML text. Raises NotToml."""
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise NotToml(str(error)) from None
    except ValueError:  # of int
        raise NotToml("a number has too many digits") from None
    except RecursionError:
        content = None
    if content is None or _is_deep(content):
        raise NotToml("its arrays or tables are nested too deeply")
    return content


def _is_deep(content: dict[str, Any]) -> bool:
    """Return whether tables and arrays are nested in more than MOST_NESTED levels. Does not recurse."""
    level: list[Any] = [content]
    for _ in range(MOST_NESTED):
        inner = [each.values() if isinstance(each, dict) else each for each in level]
        level = [value for values in inner for value in values if isinstance(value, dict | list)]
    return bool(level)


class NotToml(ValueError):
    """Text that is not valid TOML. The message says why."""
