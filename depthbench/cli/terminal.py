"""Consoles of the command line, and contexts for slow work."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from depthbench.console import say, saying
from depthbench.errors import Interrupted
from depthbench.store.mirror import shown, url_of
from depthbench.store.remote import REPORT
from depthbench.text import shell

RESUME = "interrupted: rerun this command to resume"


def make_console(**settings: Any) -> Console:
    """Return a console. A file or a pipe has no width of its own and gets 120 columns.

    It is never taken for a terminal, as rich does if FORCE_COLOR is set, which it is in notebooks: each frame
    of a spinner would be one more line."""
    settings["emoji"] = False  # `:x:` in a name or a path is not one
    made = Console(**settings)
    return made if made.file.isatty() else Console(width=120, force_terminal=False, **settings)


out, err = make_console(), make_console(stderr=True)


@contextmanager
def interruptible(message: str) -> Iterator[None]:
    """Print `message` and exit with code 130 if Ctrl-C ends the work inside. typer would print nothing."""
    try:
        yield
    except (KeyboardInterrupt, Interrupted):
        say(err, message)
        raise typer.Exit(130) from None


def no_report(path: Path) -> str:
    """Say what stands for the report of `path` if none was drawn. An earlier one may be outdated."""
    command = f"`{shell('depthbench', 'report', shown(path))}`"
    if (path / REPORT).is_dir():
        return f"an earlier one ({command} draws it again)"
    return f"none ({command} draws it)"


def page_line(page: Path) -> str:
    """Return how a page is named in the output: its path, or its URL and the path of its mirror."""
    return f"{url} (on this machine: {page})" if (url := url_of(page)) else str(page)


def draw_report(console: Console, path: Path, style: str = "page") -> Path:
    """Write the report of `path` while the console shows that. Ctrl-C prints how to draw it again."""
    name = shown(path)
    command = shell("depthbench", "report", name)
    interrupted = f"interrupted: the report of {name} is incomplete (`{command}` draws it)"
    with interruptible(interrupted), saying(console, f"drawing the report of {name}"):
        from depthbench.report import write_report  # takes a moment, which the console shows too

        return write_report(path, style=style)
