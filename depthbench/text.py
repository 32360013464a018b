"""Text as people can read it, whatever bytes it came from."""

import os
import re
import shlex
from collections.abc import Sequence


def listed(parts: Sequence[str]) -> str:
    """Write `a`, `a and b` or `a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def readable(text: str) -> str:
    """Return text, e.g. a file name, in characters that every file and terminal can store.

    Bytes that are not UTF-8, which Python represents by surrogates, are replaced by U+FFFD."""
    return text.encode("utf-8", "surrogateescape" if _is_name(text) else "replace").decode("utf-8", "replace")


CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters but tabs and line breaks, and those that change the direction of text."""


def printable(text: str) -> str:
    """Return `readable` text in which U+FFFD replaces control characters.

    It cannot change what a terminal shows elsewhere. Tabs and line breaks are kept."""
    return CONTROL.sub("\ufffd", readable(text))


def single_line(text: str) -> str:
    """Return `printable` text with a space for each line break."""
    return printable(" ".join(text.splitlines()))


def shell(*words: object) -> str:
    """Return a command, or a part of one, that can be pasted into a shell. Words are quoted if necessary."""
    return shlex.join(map(str, words))


def _is_name(name: str) -> bool:
    """Return whether a file may have this name. Surrogates that do not stand for bytes are not allowed."""
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return False
    return True
