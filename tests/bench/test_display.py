import io
from types import SimpleNamespace

import pandas as pd
import pytest
from rich.console import Console

from depthbench.bench import display
from depthbench.bench.display import ratio_table, showing
from depthbench.console import LINE_SECONDS


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=120)


@pytest.fixture
def clock(monkeypatch):
    """Replace the clock of the display; `clock.now` is its time in seconds."""
    clock = SimpleNamespace(now=100.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(display, "time", clock)
    return clock


def test_a_file_gets_a_line_at_the_start_and_then_one_from_time_to_time(console, clock):
    with showing(console) as show:
        show(0, "resnet-8")
        for done, seconds in ((0.1, LINE_SECONDS / 2), (0.25, LINE_SECONDS + 5), (0.3, LINE_SECONDS + 9)):
            clock.now = 100 + seconds
            show(done, "resnet-20")
    lines = console.file.getvalue().splitlines()
    assert lines == ["[0 %] resnet-8", "[25 %, about 45 s left] resnet-20"]


def test_the_time_left_is_not_guessed_from_almost_nothing(console, clock):
    with showing(console) as show:
        clock.now += LINE_SECONDS + 1
        show(0.02, "resnet-8")
    assert console.file.getvalue() == "[2 %] resnet-8\n"


def test_a_terminal_shows_brackets_verbatim(clock):
    console = Console(file=io.StringIO(), width=120, force_terminal=True)
    with showing(console) as show:
        show(0.01, "resnet-8 [red]")
    assert "[1 %] resnet-8 [red]" in console.file.getvalue()


def test_cases_are_apart_in_the_table_of_ratios(console):
    cells = {"median": "1.25", "spread": "", "n": "1"}
    rows = [{"case": case, "ratio": f"ratio {i}"} | cells for i, case in enumerate("aab")]
    console.print(ratio_table(pd.DataFrame(rows), "Ratios"))
    lines = [line.strip() for line in console.file.getvalue().splitlines()]
    body = lines[4:-1]
    assert [line.split("│")[1].strip() if "│" in line else "apart" for line in body] == [
        "a",
        "a",
        "apart",
        "b",
    ]
