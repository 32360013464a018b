"""Paths, URLs and names as users write them."""

import errno
import os
import re
from pathlib import Path

from depthbench.errors import BadInput
from depthbench.text import readable

LONGEST_NAME = 100  # bytes, so that a run id with the name is a file name everywhere (255)
RESERVED = r"(?i)(con|prn|aux|nul|com\d|lpt\d) *(\..*)?"  # devices on Windows


def expand(path: str | Path) -> Path:
    """Return `path` with `~` and `~user` replaced by home directories.

    Raises BadInput for an unknown user, for a character that no file name can have, for a name that cannot be
    stored because it is not UTF-8, and for one that is too long."""
    if "\0" in str(path):
        raise BadInput(f"path {str(path)!r}: contains a NUL character; remove it")
    try:
        expanded = Path(path).expanduser()
    except RuntimeError:
        user = readable(Path(path).parts[0])
        raise BadInput(
            f"path {readable(str(path))}: there is no user {user[1:]}; write ./{user} for a file"
        ) from None
    for whole in (str(path), os.path.abspath(expanded)):  # the working directory counts as well
        if not is_text(whole):
            raise BadInput(f"path {readable(whole)}: its bytes are not UTF-8; rename the file or folder")
    try:
        os.lstat(expanded)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise BadInput(f"path {str(path)[:40]}...: is too long for the file system") from None
    return expanded


class URL(str):
    """The address of a file or directory that fsspec can reach, e.g. s3://bucket/folder.

    It has the few properties of a Path that depthbench uses for results directories."""

    __slots__ = ()

    def __truediv__(self, name: str) -> "URL":
        return URL(f"{self}{'' if self.endswith('/') else '/'}{name}")

    @property
    def name(self) -> str:
        """The last part."""
        return self.rpartition("/")[2]


WITH_PROTOCOL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(/+)(.*)", re.DOTALL)
WITH_PASSWORD = re.compile(r"[^/]*:[^/]*@")


def locate(path: str | Path) -> Path | URL:
    """Return the path or the URL of a results directory. A URL gets one slash between its parts.

    A URL that was turned into a Path has lost a slash, which is added again. Raises BadInput as `expand`
    does, for a URL that names no directory, and for one that contains a password."""
    text = str(path)
    match = WITH_PROTOCOL.fullmatch(text)
    if match is None or (len(match[2]) == 1 and not isinstance(path, Path)):
        return expand(path)
    protocol, rest = match[1], match[3]
    if WITH_PASSWORD.match(rest):
        raise BadInput(f"URL of {protocol}: contains a password; store it in fsspec's configuration instead")
    if "\0" in text or not is_text(text):
        raise BadInput(f"URL {readable(text)!r}: contains bytes that no name can have; remove them")
    parts = [part for part in rest.split("/") if part not in ("", ".")]
    has_root = protocol in ("file", "local", "memory")
    if not parts or ".." in parts or (len(match[2]) > 2 and not has_root):
        raise BadInput(f"URL {text}: names no directory; write e.g. s3://bucket/folder")
    root = "/" if protocol in ("file", "local") else ""
    return URL(f"{protocol}://{root}{'/'.join(parts)}")


def problem_of_name(name: str) -> str | None:
    """Return why `name` cannot be a part of a file name, in words, or None if it can."""
    if not is_text(name):
        return "is not UTF-8"
    if not name or not name.isprintable():
        return "is empty" if not name else "has characters that cannot be printed"
    if bad := re.search(r'[/\\:*?"<>|,]', name):  # a comma separates names on the command line
        return f"contains {bad[0]!r}"
    if name[0] in ". -" or name[-1] in ". ":
        return "begins or ends with a dot, a space or a hyphen"
    if re.fullmatch(RESERVED, name):
        return "is the name of a device on Windows"
    if len(name.encode()) > LONGEST_NAME:
        return f"is longer than {LONGEST_NAME} bytes"
    return None


def is_text(name: str) -> bool:
    """Return whether a name can be written as UTF-8. Python represents other bytes by surrogates."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
