"""Lines on a terminal or in a pipe."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.status import Status

SOON = 1.5  # seconds until it is said what is done
LINE_SECONDS = 10.0  # between two plain lines that say how far it is


def say(console: Console, line: str, style: str | None = None) -> None:
    """Print `line` as it stands: a terminal wraps it, and a name in brackets is no markup."""
    console.print(line, style=style, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def saying(console: Console, what: str) -> Iterator[Status]:
    """Around work that takes some seconds: says what is done; in a file or a pipe only where it does take
    them, so that bad input is one line."""
    later = threading.Timer(SOON, say, (console, what))
    if not console.is_terminal:
        later.start()
    try:
        with console.status(escape(what)) as status:
            yield status
    finally:
        later.cancel()


@contextmanager
def counting(console: Console, what: str, counted: str) -> Iterator[Callable[[int, int], None]]:
    """`saying`, and gives a function of (done, total) that shows how far it is with `counted`."""
    last = time.monotonic()

    with saying(console, what) as status:

        def tell(done: int, total: int) -> None:
            nonlocal last
            line = f"{counted}: {done} of {total}"
            if console.is_terminal:
                status.update(line)
            elif time.monotonic() - last > LINE_SECONDS / 5:
                say(console, line)
                last = time.monotonic()

        yield tell
