"""Tables for the terminal. Errors are in percent."""

from typing import Any

from rich.table import Table

from depthbench.progress import duration

ERRORS = {"train_error_eval": "train error %", "test_error": "test error %", "best_test_error": "best test %"}


def runs_table(rows: list[dict[str, Any]], title: str) -> Table:
    """A line a run, from rows of `store.read_runs` or of runs that are planned; columns that no run fills are
    left out."""
    table = Table(title=title, title_justify="left")
    for heading in ("network", "depth", "seed", "status", "steps"):
        table.add_column(heading, justify="left" if heading in ("network", "status") else "right")
    errors = [key for key in ERRORS if any(row.get(key) is not None for row in rows)]
    timed = any(row.get("seconds") for row in rows)
    for heading in (*(ERRORS[key] for key in errors), *(["time"] if timed else [])):
        table.add_column(heading, justify="right")
    for row in rows:
        cells = [
            row["network"],
            str(row["depth"]),
            str(row["seed"]),
            row["status"],
            str(row.get("steps") or ""),
        ]
        cells += ["" if row[key] is None else f"{row[key]:.2f}" for key in errors]
        cells += [duration(row["seconds"])] if row.get("seconds") else []
        table.add_row(*cells)
    return table


def summary_table(rows: list[dict[str, Any]], title: str) -> Table:
    """A line a network and depth, from rows of `store.read_runs`: last errors, mean (lowest to highest)."""
    import pandas as pd

    from depthbench.analysis.summary import summarise

    table = Table(title=f"{title}: mean over seeds (lowest to highest)", title_justify="left")
    for heading in ("network", "depth", "seeds", "train error %", "test error %"):
        table.add_column(heading, justify="left" if heading == "network" else "right")
    table.add_column("not done")
    for row in summarise(pd.DataFrame(rows)).itertuples():
        cells = [row.network, str(row.depth), str(row.n)]
        for key in ("train_error_eval", "test_error"):
            mean, low, high = (getattr(row, f"{key}_{name}") for name in ("mean", "min", "max"))
            cells.append(f"{mean:.2f} ({low:.2f} to {high:.2f})" if row.n else "")
        counts = {status: getattr(row, status) for status in ("diverged", "failed", "interrupted")}
        cells.append(", ".join(f"{count} {status}" for status, count in counts.items() if count))
        table.add_row(*cells)
    if not any(table.columns[-1].cells):
        table.columns.pop()
    return table
