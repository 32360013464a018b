"""Errors that a user can fix, in one line: what is wrong, and what is allowed."""

import difflib
from collections.abc import Iterable


class BadInput(ValueError):
    """Input that cannot be used. The message names the input and what is allowed instead.

    The command line prints it without a traceback and exits with code 2."""


class Interrupted(Exception):
    """The user (Ctrl-C) or the system (SIGTERM) stopped a study; its runs are kept."""


def one_line(error: BaseException) -> str:
    """Return the message of `error` in one line, with the name of its class unless it is a BadInput."""
    line = " ".join(str(error).split())
    return line if isinstance(error, BadInput) else f"{type(error).__name__}: {line}"


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the nearest known name, then all of them."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}Known: {', '.join(known)}" if known else f"{hint}None is known"
