"""Tables for the terminal. Errors are in percent."""

from typing import Any

from rich.markup import escape
from rich.table import Table

from depthbench.machine.units import duration, in_bytes

ERRORS = {"train_error_eval": "train error %", "test_error": "test error %", "best_test_error": "best test %"}


def runs_table(rows: list[dict[str, Any]], title: str) -> Table:
    """A line a run, from rows of `store.read_runs` or of runs that are planned; columns that no run fills are
    left out."""
    table = Table(title=escape(title), title_justify="left")
    for heading in ("network", "depth", "seed", "status", "steps"):
        table.add_column(heading, justify="left" if heading in ("network", "status") else "right")
    errors = [key for key in ERRORS if any(row.get(key) is not None for row in rows)]
    timed = any(row.get("seconds") for row in rows)
    for heading in (*(ERRORS[key] for key in errors), *(["time"] if timed else [])):
        table.add_column(heading, justify="right")
    for row in rows:
        cells = [
            escape(row["network"]),
            str(row["depth"]),
            str(row["seed"]),
            row["status"],
            _steps(row),
        ]
        cells += ["" if row[key] is None else f"{row[key]:.2f}" for key in errors]
        cells += [duration(row["seconds"])] if row.get("seconds") else []
        table.add_row(*cells)
    return table


def _steps(row: dict[str, Any]) -> str:
    """How many a run has; of how many, where it ended before."""
    made, steps = row.get("step"), row.get("steps")
    return f"{made}/{steps}" if made is not None and steps and made < steps else str(steps or "")


def summary_table(rows: list[dict[str, Any]], title: str) -> Table:
    """A line a network and depth, from rows of `store.read_runs`: last errors, mean (lowest to highest)."""
    import pandas as pd

    from depthbench.analysis.summary import summarise

    table = Table(title=f"{title}: mean over seeds (lowest to highest)", title_justify="left")
    for heading in ("network", "depth", "seeds", "train error %", "test error %"):
        table.add_column(heading, justify="left" if heading == "network" else "right")
    table.add_column("not done")
    for row in summarise(pd.DataFrame(rows)).itertuples():
        cells = [escape(row.network), str(row.depth), str(row.n)]
        for key in ("train_error_eval", "test_error"):
            mean, low, high = (getattr(row, f"{key}_{name}") for name in ("mean", "min", "max"))
            cells.append(f"{mean:.2f} ({low:.2f} to {high:.2f})" if row.n else "")
        counts = {status: getattr(row, status) for status in ("diverged", "failed", "interrupted")}
        cells.append(", ".join(f"{count} {status}" for status, count in counts.items() if count))
        table.add_row(*cells)
    if not any(table.columns[-1].cells):
        table.columns.pop()
    return table


def plan_table(cost: dict[str, Any]) -> Table:
    """A line a network and depth of what `execution.estimate` found."""
    batches = " to ".join(
        str(size) for size in dict.fromkeys((cost["batch_sizes"][0], cost["batch_sizes"][-1]))
    )
    title = f"{cost['study']}: {cost['steps']} steps at batch {batches}, on {cost['device']}"
    table = Table(title=title, title_justify="left")
    for heading in ("network", "depth", "parameters", "multiply-adds", "memory", "time of a run", "runs"):
        table.add_column(heading, justify="left" if heading == "network" else "right")
    for row in cost["rows"]:
        guessed = row["seconds"] is not None and not row["measured"]
        table.add_row(
            escape(row["network"]),
            str(row["depth"]),
            f"{row['parameters']:,}",
            f"{row['multiply_adds'] / 1e6:,.1f} M",
            in_bytes(row["memory_bytes"]) + "*" * row["recompute"],
            "" if row["seconds"] is None else "~" * guessed + duration(row["seconds"]),
            f"{row['runs']}" + (f" ({row['done']} done)" if row["done"] else ""),
        )
    if not any(table.columns[5].cells):
        table.columns.pop(5)
    return table


def plan_lines(cost: dict[str, Any]) -> list[str]:
    """What holds for the whole study, and what the signs in the table mean."""
    jobs, threads, left = cost["jobs"], cost["threads"], cost["runs"] - cost["done"]
    line = f"{left} of {cost['runs']} runs to do, {jobs} at a time, {threads} thread{'s'[: threads > 1]} each"
    if left and cost["seconds"] is not None:
        line += f": about {duration(cost['seconds'])}"
    if left:
        is_on_gpu = cost["device"].startswith("cuda")
        line += f", {in_bytes(cost['memory_bytes'])}{' of the GPU' if is_on_gpu else ''} at the worst moment"
        line += "" if is_on_gpu else " (what runs share counted once)"
    lines = [line, *cost["notes"]]
    if cost["decode"] == "as_read" and any(row["seconds"] is not None for row in cost["rows"]):
        lines.append("decoding images is not in these times")
    if any(row["recompute"] for row in cost["rows"]):
        lines.append("* its activations are computed twice")
    if any(row["seconds"] is not None and not row["measured"] for row in cost["rows"]):
        lines.append("~ not tried out: reckoned from depths that were")
    return lines
