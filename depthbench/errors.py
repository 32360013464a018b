"""The one error a person can mend: what is wrong, and what is allowed, in one line."""

import difflib
from collections.abc import Iterable


class BadInput(ValueError):
    """Input that cannot be used. Its message names the input and what is allowed instead.

    The command line prints it without a traceback and ends with exit code 2."""


def told(error: Exception) -> str:
    """What `error` says, in one line; named, unless a person can mend it."""
    line = " ".join(str(error).split())
    return line if isinstance(error, BadInput) else f"{type(error).__name__}: {line}"


class Interrupted(Exception):
    """The person (Ctrl-C) or the system (SIGTERM) asked a study to stop; its runs are kept."""


def nearest(word: str, known: Iterable[str]) -> str:
    """The advice that ends a message about an unknown name: the nearest known, then all."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}Known: {', '.join(known)}" if known else f"{hint}None is known"
