import io

import pytest
from rich.console import Console

from depthbench.cli.tables import plan_lines, runs_table, summary_table
from depthbench.report.sentences import frontier_lines


def run(network, depth, seed, status="done", error=None):
    errors = dict.fromkeys(("train_error_eval", "test_error", "best_test_error"), error)
    return {
        "network": network,
        "depth": depth,
        "seed": seed,
        "status": status,
        "steps": 9,
        "seconds": 75,
    } | errors


def lines(table):
    console = Console(file=io.StringIO(), width=120)
    console.print(table)
    return [line.strip(" │") for line in console.file.getvalue().splitlines()]


def test_a_line_a_run_with_blanks_where_nothing_is_known():
    shown = lines(runs_table([run("plain", 8, 0, error=12.345), run("resnet", 8, 0, "failed")], "mine"))
    assert shown[0] == "mine"
    cells = [[cell.strip() for cell in line.split("│")] for line in shown]
    assert ["plain", "8", "0", "done", "9", "12.35", "12.35", "12.35", "1 min 15 s"] in cells
    assert any("failed" in line and "12.35" not in line for line in shown)


def test_planned_runs_have_no_error_columns():
    planned = [{"network": "plain", "depth": 8, "seed": 0, "status": "to do", "steps": 9}]
    assert "error" not in "".join(lines(runs_table(planned, "plan")))


def test_the_summary_has_means_and_ranges_and_what_did_not_end_well():
    rows = [run("plain", 8, seed, error=e) for seed, e in enumerate((10.0, 20.0, 60.0))]
    shown = "\n".join(lines(summary_table(rows, "mine")))
    assert "30.00 (10.00 to 60.00)" in shown
    assert "not done" not in shown
    rows += [run("plain", 8, 3, "failed"), run("resnet", 8, 0, "interrupted")]
    shown = "\n".join(lines(summary_table(rows, "mine")))
    assert "1 failed" in shown
    assert "1 interrupted" in shown


@pytest.mark.parametrize(
    ("decode", "seconds", "told"), [("as_read", 9.0, True), ("once", 9.0, False), ("as_read", None, False)]
)
def test_times_are_said_to_be_without_decoding_where_it_goes_on(decode, seconds, told):
    row = {"recompute": False, "seconds": seconds, "measured": True}
    cost = {"jobs": 1, "threads": 1, "runs": 1, "done": 0, "seconds": seconds, "memory_bytes": 1, "notes": []}
    cost |= {"device": "cpu"}
    shown = plan_lines(cost | {"decode": decode, "rows": [row]})
    assert ("decoding images is not in these times" in shown) == told


@pytest.mark.parametrize(
    ("device", "told"),
    [
        ("cpu", "2.0 GB at the worst moment (what runs share counted once)"),
        ("cuda:0", "2.0 GB of the GPU at the worst moment"),
    ],
)
def test_memory_is_said_to_be_whose(device, told):
    cost = {"jobs": 1, "threads": 1, "runs": 1, "done": 0, "seconds": None, "memory_bytes": 2e9, "notes": []}
    first = plan_lines(cost | {"decode": "once", "rows": [], "device": device})[0]
    assert first.endswith(f", {told}")


def test_a_network_that_trains_nowhere_is_said_to():
    row = {"network": "plain", "n": 1, "median": 0.0, "low": 0.0, "high": 0.0, "open": 0}
    told = "plain: train error below 20 % at no depth that was tried"
    assert frontier_lines([row], 20) == [f"{told} (1 seed)"]
    assert frontier_lines([row | {"n": 2}], 20) == [f"{told} (2 seeds)"]
