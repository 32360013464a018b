import io
from dataclasses import replace

import pytest
from rich.console import Console

from depthbench.cli.tables import failure_lines, plan_lines, plan_table, runs_table, summary_table
from depthbench.execution.cost.estimate import CostRow, PlanCost
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


ROW = CostRow("plain", 8, 1, 0, 100, 100, 1, recompute=False, seconds=9.0, measured=True)


def plan_cost(**changes):
    """Return the cost of a study with one run."""
    cost = PlanCost("mine", "cpu", 1, 1, 10, (16,), 1, 0, None, 1, "once", notes=(), rows=(ROW,))
    return replace(cost, **changes)


def lines(table):
    console = Console(file=io.StringIO(), width=120)
    console.print(table)
    return [line.strip(" │") for line in console.file.getvalue().splitlines()]


def test_each_run_has_a_row_with_blanks_for_unknown_values():
    shown = lines(runs_table([run("plain", 8, 0, error=12.345), run("resnet", 8, 0, "failed")], "mine"))
    assert shown[0] == "mine"
    cells = [[cell.strip() for cell in line.split("│")] for line in shown]
    assert ["plain", "8", "0", "done", "9", "12.35", "12.35", "12.35", "1 min 15 s"] in cells
    assert any("failed" in line and "12.35" not in line for line in shown)


def test_a_watched_loop_that_logged_only_the_error_of_its_batches_has_that_error():
    row = run("mine", 8, 0) | {"loop": "watch", "train_error": 50.0}
    shown = lines(runs_table([row], "mine"))
    assert "train error % (as logged)" in shown[2]
    assert "50.00" in shown[4]


def test_a_watched_loop_without_a_plan_shows_the_steps_that_it_made():
    row = run("mine", 8, 0, "diverged") | {"step": 7, "steps": None}
    (cells,) = (line for line in lines(runs_table([row], "mine")) if "diverged" in line)
    assert [cell.strip() for cell in cells.split("│")][4] == "7"


def test_runs_that_failed_for_one_reason_share_a_line():
    rows = [
        run("plain", depth, 0, "failed") | {"run_id": f"p{depth}", "reason": "boom"} for depth in range(7)
    ]
    rows += [run("plain", 8, 1) | {"run_id": "p8", "reason": None}]
    rows += [run("plain", 9, 1, "failed") | {"run_id": "p9", "reason": None}]
    assert failure_lines(rows) == [
        "p0, p1, p2, p3, p4, ... failed: boom",
        "p9 failed: the reason is not known",
    ]


def test_text_of_results_is_no_markup_and_no_control_character():
    (line,) = lines(runs_table([run("[red]a\x1b[2J\nb", 8, 0)], "mine"))[4:5]
    assert line.startswith("[red]a\ufffd[2J b ")


def test_planned_runs_have_no_error_columns():
    planned = [{"network": "plain", "depth": 8, "seed": 0, "status": "to do", "steps": 9}]
    assert "error" not in "".join(lines(runs_table(planned, "plan")))


def test_the_summary_has_means_ranges_and_numbers_of_unfinished_runs():
    rows = [run("plain", 8, seed, error=e) for seed, e in enumerate((10.0, 20.0, 60.0))]
    shown = "\n".join(lines(summary_table(rows, "mine")))
    assert "30.00 (10.00 to 60.00)" in shown
    assert "not done" not in shown
    rows += [run("plain", 8, 3, "failed"), run("resnet", 8, 0, "interrupted")]
    shown = "\n".join(lines(summary_table(rows, "mine")))
    assert "1 failed" in shown
    assert "1 interrupted" in shown


@pytest.mark.parametrize(
    ("decode", "seconds", "message"), [("as_read", 9.0, True), ("once", 9.0, False), ("as_read", None, False)]
)
def test_a_note_says_that_times_exclude_decoding_while_training(decode, seconds, message):
    shown = plan_lines(plan_cost(decode=decode, rows=(replace(ROW, seconds=seconds),)))
    assert ("the times exclude decoding images" in shown) == message


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("cpu", "peak memory 2.0 GB, shared memory counted once"),
        ("cuda:0", "peak GPU memory 2.0 GB"),
    ],
)
def test_the_peak_memory_names_the_device(device, message):
    first = plan_lines(plan_cost(device=device, memory_bytes=2_000_000_000))[0]
    assert first.endswith(f": {message}")


def test_times_that_were_not_measured_are_marked():
    cost = plan_cost(rows=(replace(ROW, measured=False),))
    assert plan_lines(cost)[-1] == "~ extrapolated from measured depths"
    assert "~9 s" in "".join(lines(plan_table(cost)))


def test_a_network_that_trains_at_no_depth():
    row = {"network": "plain", "n": 1, "median": 0.0, "low": 0.0, "high": 0.0, "open": 0}
    message = "plain: train error below 20 % at no tested depth"
    assert frontier_lines([row], 20) == [f"{message} (1 seed)."]
    assert frontier_lines([row | {"n": 2}], 20) == [f"{message} (2 seeds)."]


def test_depths_that_were_chosen_for_their_cost_are_in_its_order_and_say_why():
    rows = (replace(ROW, network="a", multiply_adds=2000), replace(ROW, network="b", reason="about 1.0 k"))
    shown = lines(plan_table(plan_cost(rows=rows)))
    places = {name: next(i for i, line in enumerate(shown) if line.startswith(f"{name} ")) for name in "ab"}
    assert places["b"] < places["a"]
    assert "chosen for" in "".join(shown)
    assert "about 1.0 k" in shown[places["b"]]
    assert "chosen for" not in "".join(lines(plan_table(plan_cost(rows=rows[:1]))))
