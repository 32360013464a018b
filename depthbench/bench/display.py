"""The progress display of a benchmark, and the table at its end."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pandas as pd
from rich.console import Console
from rich.table import Table

from depthbench.console import LINE_SECONDS, say
from depthbench.machine.units import duration


@contextmanager
def showing(console: Console) -> Iterator[Callable[[float, str], None]]:
    """Show progress. Yields a function that takes the fraction done (0 to 1) and what comes next."""
    began = last = time.monotonic()

    with console.status("starting") as status:

        def show(done: float, what: str) -> None:
            nonlocal last
            elapsed = time.monotonic() - began
            left = f", about {duration(elapsed * (1 - done) / done)} left" if done > 0.02 else ""
            line = f"[{100 * done:.0f} %{left}] {what}"
            if console.is_terminal:
                status.update(line.replace("[", r"\["))
            elif time.monotonic() - last > LINE_SECONDS or done == 0:
                say(console, line)
                last = time.monotonic()

        yield show


def ratio_table(shown: pd.DataFrame, title: str) -> Table:
    """Return the rows of `output.ratios_shown` as a table for the terminal."""
    table = Table(title=title, title_justify="left")
    for column in map(str, shown):
        table.add_column(column, justify="right" if column in ("median", "spread", "n") else "left")
    case = None
    for row in shown.itertuples(index=False):
        if case is not None and row[0] != case:
            table.add_section()
        table.add_row(*row)
        case = row[0]
    return table
