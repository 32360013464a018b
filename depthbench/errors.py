"""Errors that a user can fix, in one line: what is wrong, and what is allowed."""

import difflib
import errno
import os
import traceback
from collections.abc import Iterable, Mapping

from depthbench.text import readable, single_line

_PERMIT = "change its permissions, or use another folder"
_MORE_SPACE = "free some space and rerun this command"
WHAT_TO_DO = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), _MORE_SPACE),
    **dict.fromkeys((errno.EACCES, errno.EPERM), _PERMIT),
    errno.EROFS: "use another folder",
}
"""What a user can do about an error of the operating system, by its number."""


PLUGIN_PREFIX = "depthbench_plugin_"
"""Of the names of the modules of plug-ins (plugins/neighbours.py)."""


class BadInput(ValueError):
    """Input that cannot be used. The message names the input and what is allowed instead.

    The command line prints it without a traceback and exits with code 2. Values in the message can contain
    line breaks and characters that cannot be stored, which are replaced."""

    def __init__(self, message: str):
        super().__init__(single_line(message))


class BadNetwork(BadInput):
    """A network that cannot be trained. The message says what is wrong with "it".

    Code that knows the name of the network puts that first."""


class RunsFailed(BadInput):
    """Runs failed, so a study or a search has no complete result. Everything else is stored.

    `reasons`: the id of each run that failed -> its reason. The message has them too, the first few if there
    are many. The command line exits with code 1."""

    def __init__(self, message: str, reasons: Mapping[str, str] | None = None):
        super().__init__(message)
        self.reasons = dict(reasons or {})


class Interrupted(Exception):
    """The user (Ctrl-C) or the system (SIGTERM) stopped a study; its runs are kept."""


class StudyStopped(Exception):
    """A study cannot go on in this process. Its runs are stored. The message says why, and what to do.

    The command line prints it without a traceback and exits with code 1."""


def one_line(error: BaseException) -> str:
    """Return the message of `error` in one line, with the name of its class unless it is a BadInput.

    If code of a plug-in raised it, the file and the line are added. Bytes that are not UTF-8, as in a file
    name, are replaced by U+FFFD."""
    line = " ".join(readable(str(error)).split())
    if isinstance(error, BadInput):
        return line
    place = place_in_plugin(error)
    name = type(error).__name__
    return f"{name}: {line}{place}" if line else f"{name}{place}"


def place_in_plugin(error: BaseException) -> str:
    """Return the innermost line of a plug-in that led to an error, e.g. " (my_block.py, line 12)".

    It is empty for errors of other code. A SyntaxError has its place in its message."""
    if isinstance(error, SyntaxError):
        return ""
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        if str(frame.f_globals.get("__name__")).startswith(PLUGIN_PREFIX):
            return f" ({readable(os.path.basename(frame.f_code.co_filename))}, line {line})"
    return ""


def of_system(error: OSError) -> str:
    """Return an error of the operating system in one line: the path, what is wrong, and what to do."""
    if error.strerror is None or error.filename is None:
        return str(error)
    line = f"{readable(os.fsdecode(error.filename))}: {error.strerror}"
    advice = WHAT_TO_DO.get(error.errno or 0)
    return f"{line}; {advice}" if advice else line


def nearest(word: str, known: Iterable[str], kind: str) -> str:
    """Return the end of a message about an unknown name: the nearest known name, then all of them.

    kind: what the names stand for, in the plural, e.g. "networks"."""
    known = sorted(known)
    if not known:
        return f"there are no {kind}"
    names = ", ".join(known)
    if close := difflib.get_close_matches(word, known, n=1, cutoff=0.5):
        return f"did you mean {close[0]!r}? {kind[0].upper()}{kind[1:]}: {names}"
    return f"{kind}: {names}"


def any_of(names: Iterable[str]) -> str:
    """Return names as "a, b or c"."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last
