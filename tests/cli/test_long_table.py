import io

import pytest
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from depthbench.cli.long_table import LongTable


def printed(table, width, **settings):
    console = Console(file=io.StringIO(), width=width, **settings)
    console.print(table)
    return console.file.getvalue()


@pytest.fixture
def table():
    """A table with markup, wide characters, an empty column, and cells shorter and longer than headings."""
    made = Table(title="results [1]", title_justify="left")
    made.add_column("network")
    made.add_column("a long heading", justify="right")
    made.add_column("time")
    for index, name in enumerate(("plain", "深い", escape("mine[b]"), "a-network-of-some-length")):
        made.add_row(name, str(10**index), "")
    return made


@pytest.mark.parametrize("terminal", [{}, {"force_terminal": True, "color_system": "truecolor"}])
@pytest.mark.parametrize("width", [120, 52, 46])  # 46: the heading is wrapped
def test_it_looks_as_rich_draws_it(table, width, terminal):
    assert printed(LongTable(table), width, **terminal) == printed(table, width, **terminal)


def test_no_word_is_cut_in_a_narrow_terminal(table):
    text = printed(LongTable(table), 38)
    assert text.splitlines() == [
        "results [1]",
        "network plain, a long heading 1",
        "network 深い, a long heading 10",
        "network mine[b], a long heading 100",
        "network a-network-of-some-length, a ",
        "long heading 1000",
    ]


def test_a_table_without_rows():
    empty = Table("network", "depth", title="results")
    assert printed(LongTable(empty), 80) == printed(empty, 80)


def test_rich_lays_out_one_row_of_a_long_table(table, monkeypatch):
    rendered = []
    monkeypatch.setattr(Table, "_render", lambda self, *args: rendered.append(self.row_count) or [])
    printed(LongTable(table), 120)
    assert rendered[0] == 1
