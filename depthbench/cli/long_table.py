"""Tables of thousands of rows in the terminal, and tables in a narrow terminal."""

import re
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

UNLIMITED = 10_000  # columns
FILLER = "\ue000"  # a private-use character that no name contains


@dataclass(frozen=True)
class LongTable:
    """A table that looks like `table` and is laid out faster. Its cells have one line and no style.

    rich lays out one row, with the widest cell of each column, and the rows of the table take its place. If
    the terminal is too narrow for that row, rich lays out every row. If rich would have to cut words, each
    row becomes a paragraph, e.g. `network plain, depth 8, status done`."""

    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the table for rich."""
        if not self.table.rows:
            yield self.table
            return
        unlimited = options.update(max_width=UNLIMITED)
        if Measurement.get(console, unlimited, self.table).minimum > options.max_width:
            yield from self._paragraphs()
            return
        cells = [[_plain(str(cell)) for cell in column.cells] for column in self.table.columns]
        widest = [FILLER * max([1, *map(cell_len, column)]) for column in cells]
        sample = copy(self.table)
        sample.rows, sample.columns = [], [column.copy() for column in self.table.columns]
        sample.add_row(*widest)
        lines = console.render_lines(sample, options, pad=False)
        texts = ["".join(segment.text for segment in line) for line in lines]
        if re.findall(f"{FILLER}+", "\n".join(texts)) != widest:
            yield self.table
            return
        for line, text in zip(lines, texts, strict=True):
            if FILLER not in text:
                yield from (*line, Segment.line())
                continue
            border, *fields = re.split(f"( *{FILLER}+ *)", text)
            justify = [column.justify for column in self.table.columns]
            columns = map(_field, cells, fields[::2], justify)
            for row in zip(*columns, strict=True):
                pairs = zip(row, fields[1::2], strict=True)
                yield Segment(border + "".join(part for pair in pairs for part in pair) + "\n")

    def _paragraphs(self) -> Iterator[Text]:
        if self.table.title:
            yield Text(_plain(str(self.table.title)), style="italic")
        headings = [str(column.header) for column in self.table.columns]
        for row in zip(*(column.cells for column in self.table.columns), strict=True):
            cells = [_plain(str(cell)) for cell in row]
            yield Text(
                ", ".join(f"{name} {cell}" for name, cell in zip(headings, cells, strict=True) if cell)
            )


def _plain(cell: str) -> str:
    """Return a cell without markup."""
    return Text.from_markup(cell).plain if "[" in cell else cell


def _field(cells: list[str], width_of: str, justify: str) -> list[str]:
    """Return the cells of a column with spaces around them, as wide as `width_of`."""
    space = [" " * (len(width_of) - 2 - cell_len(cell)) for cell in cells]
    if justify == "right":
        return [f" {before}{cell} " for cell, before in zip(cells, space, strict=True)]
    return [f" {cell}{after} " for cell, after in zip(cells, space, strict=True)]
