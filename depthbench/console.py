"""Output to a terminal, a file or a pipe."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.status import Status

from depthbench.text import printable

STATUS_DELAY = 1.5  # seconds of work before a file or a pipe gets a line about it
LINE_SECONDS = 10.0  # between two lines of a study's progress in a file or a pipe


def say(console: Console, line: str, style: str | None = None) -> None:
    """Print a line verbatim, but without control characters (`text.printable`).

    Brackets in it are not markup, and only the terminal wraps it."""
    console.print(printable(line), style=style, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def saying(console: Console, activity: str) -> Iterator[Status]:
    """Show `activity` while the code inside runs.

    A file or a pipe gets a line only after STATUS_DELAY seconds, so that bad input prints only its error."""
    later = threading.Timer(STATUS_DELAY, say, (console, activity))
    if not console.is_terminal:
        later.start()
    try:
        with console.status(escape(activity)) as status:
            yield status
    finally:
        later.cancel()


@contextmanager
def counting(console: Console, activity: str, counted: str) -> Iterator[Callable[[int, int], None]]:
    """Show `activity` like `saying`, and yield a function of (done, total) that shows progress.

    `counted` describes what is counted. A file or a pipe gets at most one line per LINE_SECONDS / 5."""
    last = time.monotonic()

    with saying(console, activity) as status:

        def show(done: int, total: int) -> None:
            nonlocal last
            line = f"{counted}: {done} of {total}"
            if console.is_terminal:
                status.update(line)
            elif time.monotonic() - last > LINE_SECONDS / 5:
                say(console, line)
                last = time.monotonic()

        yield show
