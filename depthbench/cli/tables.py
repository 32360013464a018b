"""Tables in the terminal. Errors are in percent."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from depthbench.analysis.logged import with_batch_errors
from depthbench.cli.long_table import LongTable
from depthbench.cli.terminal import out
from depthbench.machine.units import duration, in_bytes, in_count
from depthbench.text import single_line

if TYPE_CHECKING:
    from depthbench.execution.cost.estimate import CostRow, PlanCost

MOST_NAMES = 5  # in a line
ERRORS = {"train_error_eval": "train error %", "test_error": "test error %", "best_test_error": "best test %"}


def runs_table(rows: list[dict[str, Any]], title: str) -> Table:
    """Return a table with a line per run, from rows of `read_runs` or of planned runs.

    Columns that are empty for every run are left out. A loop that `depthbench.watch` recorded may have logged
    only the train error of its batches."""
    filled = with_batch_errors(rows)
    headings = dict(ERRORS)
    if filled != rows:
        headings["train_error_eval"] += " (as logged)"
    rows = filled
    table = Table(title=_cell(title), title_justify="left")
    for heading in ("network", "depth", "seed", "status", "steps"):
        table.add_column(heading, justify="left" if heading in ("network", "status") else "right")
    errors = [key for key in ERRORS if any(row.get(key) is not None for row in rows)]
    timed = any(row.get("seconds") for row in rows)
    for heading in (*(headings[key] for key in errors), *(["time"] if timed else [])):
        table.add_column(heading, justify="right")
    for row in rows:
        cells = [
            _cell(row["network"]),
            str(row["depth"]),
            str(row["seed"]),
            row["status"],
            _steps(row),
        ]
        cells += ["" if row.get(key) is None else f"{row[key]:.2f}" for key in errors]
        cells += [duration(row["seconds"])] if row.get("seconds") else []
        table.add_row(*cells)
    return table


def failure_lines(rows: list[dict[str, Any]]) -> list[str]:
    """Return one line for each reason why runs failed, from rows of `read_runs`."""
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if row["status"] == "failed":
            reasons.setdefault(row["reason"] or "the reason is not known", []).append(row["run_id"])
    return [f"{first_names(names)} failed: {reason}" for reason, names in reasons.items()]


def first_names(names: Sequence[str]) -> str:
    """List names in one line, at most MOST_NAMES of them."""
    return ", ".join(names[:MOST_NAMES]) + (", ..." if len(names) > MOST_NAMES else "")


def print_runs(rows: list[dict[str, Any]], title: str, as_json: bool) -> None:
    """Print `runs_table`, or the rows as JSON."""
    if as_json:
        print(json.dumps(rows, indent=1))
    else:
        out.print(LongTable(runs_table(rows, title)))


def _cell(text: object) -> str:
    """Return text from a results directory as one line of a table, without markup and control characters."""
    return escape(single_line(str(text)))


def _steps(row: dict[str, Any]) -> str:
    """Return the number of steps of a run, as `made/planned` if it ended early. A loop may have no plan."""
    made, steps = row.get("step"), row.get("steps")
    return f"{made}/{steps}" if made is not None and steps and made < steps else str(steps or made or "")


def summary_table(rows: list[dict[str, Any]], title: str) -> Table:
    """Return a table with a line per network and depth, from rows of `read_runs`.

    It shows the final errors as mean (lowest to highest)."""
    import pandas as pd

    from depthbench.analysis.summary import summarise

    table = Table(title=f"{_cell(title)}: mean over seeds (lowest to highest)", title_justify="left")
    for heading in ("network", "depth", "seeds", "train error %", "test error %"):
        table.add_column(heading, justify="left" if heading == "network" else "right")
    table.add_column("not done")
    for row in summarise(pd.DataFrame(rows)).itertuples():
        cells = [_cell(row.network), str(row.depth), str(row.n)]
        for key in ("train_error_eval", "test_error"):
            mean, low, high = (getattr(row, f"{key}_{name}") for name in ("mean", "min", "max"))
            cells.append(f"{mean:.2f} ({low:.2f} to {high:.2f})" if row.n else "")
        counts = {status: getattr(row, status) for status in ("diverged", "failed", "interrupted")}
        cells.append(", ".join(f"{count} {status}" for status, count in counts.items() if count))
        table.add_row(*cells)
    if not any(table.columns[-1].cells):
        table.columns.pop()
    return table


def plan_table(cost: "PlanCost") -> Table:
    """Return a table of what a plan costs, with a line per network and depth.

    If the depths were chosen for their cost, the lines are sorted by cost."""
    smallest, largest = cost.batch_sizes[0], cost.batch_sizes[-1]
    batch = f"{smallest}" if smallest == largest else f"{smallest} to {largest}"
    steps = f"{cost.steps}" if cost.most_steps is None else f"{cost.steps} to {cost.most_steps}"
    title = f"{_cell(cost.study)}: {steps} steps at batch {batch}, on {cost.device}"
    table = Table(title=title, title_justify="left")
    headings = (
        "network",
        "depth",
        "chosen for",
        "parameters",
        "multiply-adds",
        "memory",
        "time of a run",
        "runs",
    )
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("network", "chosen for") else "right")
    is_chosen = any(row.reason for row in cost.rows)
    for row in sorted(cost.rows, key=lambda row: row.multiply_adds if is_chosen else 0):
        memory = in_bytes(row.memory_bytes) + ("*" if row.recompute else "")
        seconds = "" if row.seconds is None else duration(row.seconds)
        table.add_row(
            _cell(row.network),
            str(row.depth),
            row.reason,
            f"{row.parameters:,}",
            in_count(row.multiply_adds),
            memory,
            f"~{seconds}" if _is_extrapolated(row) else seconds,
            f"{row.runs}" + (f" ({row.done} done)" if row.done else ""),
        )
    for heading in ("chosen for", "time of a run"):
        place = [column.header for column in table.columns].index(heading)
        if not any(table.columns[place].cells):
            table.columns.pop(place)
    return table


def plan_lines(cost: "PlanCost") -> list[str]:
    """Return the lines below the table of a plan: the cost of the study, notes, and what the signs mean."""
    lines = [_cost_line(cost), *cost.notes]
    if cost.decode == "as_read" and any(row.seconds is not None for row in cost.rows):
        lines.append("the times exclude decoding images")
    if any(row.recompute for row in cost.rows):
        lines.append("* computes its activations twice to save memory")
    if any(_is_extrapolated(row) for row in cost.rows):
        lines.append("~ extrapolated from measured depths")
    return lines


def _cost_line(cost: "PlanCost") -> str:
    left = cost.runs - cost.done
    if not left:
        return f"nothing to do: {cost.runs} of {cost.runs} runs are done"
    runs = f"{left} of {cost.runs} runs to do"
    line = f"{runs} ({how_many(min(cost.jobs, left), cost.threads)})"
    costs = [] if cost.seconds is None else [f"about {duration(cost.seconds)}"]
    if cost.device.startswith("cuda"):
        costs.append(f"peak GPU memory {in_bytes(cost.memory_bytes)}")
    else:
        costs.append(f"peak memory {in_bytes(cost.memory_bytes)}, shared memory counted once")
    return f"{line}: {', '.join(costs)}"


def how_many(at_once: int, threads: int) -> str:
    """Describe how runs are executed, e.g. "2 at a time, 1 thread each"."""
    threads_each = f"{threads} thread{'s'[: threads > 1]}"
    return f"{at_once} at a time, {threads_each} each" if at_once > 1 else f"one at a time, {threads_each}"


def _is_extrapolated(row: "CostRow") -> bool:
    return row.seconds is not None and not row.measured
