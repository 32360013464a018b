"""Numbers and other values of a table as text."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from depthbench.analysis import STATUSES
from depthbench.analysis.intervals import MIN_SEEDS

CROP_ERRORS = {  # of ImageNet's protocol: column -> heading
    "test_error_10crop": "test error, 10 crops (%)",
    "test_error_top5": "top-5 error (%)",
    "test_error_top5_10crop": "top-5 error, 10 crops (%)",
}


def number(value: float | None, unit: float = 1.0, places: int = 2) -> str:
    """Divide by `unit` and round; empty if unknown. Never `-0.00`."""
    return "" if value is None or not math.isfinite(value) else f"{value / unit:z,.{places}f}"


def significant(value: float) -> str:
    """Write three significant digits; all digits of a whole number below a million, e.g. `9,660`."""
    return f"{float(f'{value:.3g}'):,.0f}" if 1000 <= value < 1e6 else f"{value:#.3g}".removesuffix(".")


def whole(value: Any) -> str:
    """Write a count; `?` if unknown."""
    return "?" if pd.isna(value) else f"{int(value):,}"


def signed(value: float) -> str:
    """Write a difference with its sign; empty if unknown. Never `-0.00`."""
    return f"{value:+z.2f}" if math.isfinite(value) else ""


def interval(ends: Iterable[float], places: int = 2) -> str:
    """Write `low to high`; empty if an end is unknown."""
    ends = list(ends)
    return " to ".join(number(x, 1, places) for x in ends) if all(map(math.isfinite, ends)) else ""


def plus_minus(mean: float, sd: float, diverged: int = 0) -> str:
    """Write a mean with its standard deviation, if known, and the number of diverged runs, if any."""
    text = number(mean) + (f" ± {number(sd)}" if math.isfinite(sd) else "")
    return f"{text} ({diverged} diverged)" if diverged else text


def p_value(value: float) -> str:
    """Write a p value; empty if unknown."""
    return "" if not math.isfinite(value) else "< 0.0001" if value < 1e-4 else f"{value:.4f}"


def yes_no(value: Any) -> str:
    """Write a truth value; `unknown` if missing."""
    return "unknown" if pd.isna(value) else "yes" if value else "no"


def status(run: Mapping[str, Any]) -> str:
    """Write the status of a run, with the reason if there is one."""
    reason = run.get("reason")
    return run["status"] if pd.isna(reason) or not reason else f"{run['status']}: {reason}"


def status_counts(row: Mapping[str, Any]) -> str:
    """Write how many runs have each status, e.g. `2 done, 1 diverged`."""
    return ", ".join(f"{row[name]} {name}" for name in STATUSES if row[name])


def seed_differences(row: Mapping[str, Any]) -> str:
    """Write the difference of each seed and the number of diverged runs."""
    text = ", ".join(f"{seed}: {signed(difference)}" for seed, difference in row["differences"].items())
    return text + (f"; {row['diverged']} diverged" if row["diverged"] else "")


def without_empty_columns(shown: pd.DataFrame) -> pd.DataFrame:
    """Drop columns that are empty in every row; the rest as text."""
    shown = shown.astype(str)
    return shown.drop(columns=[column for column in shown if (shown[column] == "").all()])


def interval_note(n: Iterable[int]) -> str:
    """Say what the 95 % intervals of means over `n` seeds are; empty if no mean has one."""
    if max(n, default=0) < MIN_SEEDS:
        return ""
    return (
        f" From {MIN_SEEDS} seeds on, the 95 % interval of a mean is a studentised bootstrap, or Student's t "
        "if seeds tie."
    )
