"""Sentences on a sweep: is degradation an effect of the depth, or of the value of a setting?"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from depthbench.analysis.answers import Answer
from depthbench.analysis.rows import rows_of
from depthbench.analysis.sweep import Swept
from depthbench.analysis.verdict import LEAST_SEEDS, widest
from depthbench.report.tables.formatting import p_value, signed
from depthbench.text import listed

KEYS = {
    "recipe.lr": "learning rate",
    "recipe.batch_size": "batch size",
    "recipe.weight_decay": "weight decay",
}


def name_of_key(key: str) -> str:
    """Return the name of a setting as people write it."""
    return KEYS.get(key, key.partition(".")[2] or key)


def swept_value(value: Any) -> str:
    """Write the value of a swept setting, with at most three digits; empty if unknown."""
    if isinstance(value, str | bool):
        return str(value).lower() if isinstance(value, bool) else value
    return "" if pd.isna(value) else f"{value:.3g}"


def conclusions(swept: Swept, answers: Sequence[Answer]) -> list[str]:
    """Say for each swept network whether it degrades with depth at the best value of each depth.

    The sentence compares this with the verdicts at single values. answers: those of the study."""
    key = name_of_key(swept.sweep.key)
    verdicts = {found.network: found.verdict for found in answers if not found.residual}
    lines = []
    for network, rows in swept.verdicts.groupby("network", sort=False):
        pair = widest(rows_of(rows))
        if pair is None:
            continue
        cells = swept.sweep.cells
        variants = dict.fromkeys(cells.loc[cells["network"] == network, "variant"])
        fixed = [verdicts[variant] for variant in variants if variant in verdicts]
        lines.append(_at_best(str(network), pair, key) + _at_single_values(pair["verdict"], fixed))
    return lines


def details(swept: Swept) -> list[str]:
    """Say which best values are at an end of the sweep, and how the best value moves with depth."""
    key = name_of_key(swept.sweep.key)
    networks = dict.fromkeys(swept.optima["network"])
    lines = [line for network in networks for line in _edges(network, swept.optima, key)]
    return lines + [_movement(row, key) for row in rows_of(swept.movements)]


def _at_best(network: str, pair: Mapping[str, Any], key: str) -> str:
    depths = f"from depth {pair['shallow']} to {pair['deep']}"
    where = f"at the best {key} of each depth ({swept_value(pair['best_shallow'])} and "
    where += f"{swept_value(pair['best_deep'])})"
    if pair["n"] < LEAST_SEEDS:
        return f"{network}: no verdict {where}, because it needs {LEAST_SEEDS} seeds."
    numbers = f"{signed(pair['mean'])} points, n = {pair['n']}"
    if pair["verdict"] == "present":
        return f"{network} degrades {depths} even {where}: {numbers}, p {_compared(pair['p_holm'])}."
    if pair["verdict"] == "absent":
        return f"{network} does not degrade {depths} {where}: {numbers}, upper bound {signed(pair['upper'])}."
    return f"{network} {depths}: inconclusive {where} ({numbers}, p {_compared(pair['p_holm'])})."


def _at_single_values(at_best: str, fixed: Sequence[str]) -> str:
    """Return the end of a sentence: at how many single values degradation is present, and what follows."""
    present = sum(verdict == "present" for verdict in fixed)
    if not fixed:
        return ""
    if at_best == "present":
        return f" At single values, it is present at {present} of {len(fixed)}."
    if at_best == "absent" and present:
        return (
            f" At single values, degradation is present at {present} of {len(fixed)}: there, it is an "
            "effect of the value and not of depth alone."
        )
    return f" At single values, degradation is present at {present} of {len(fixed)}."


def _edges(network: str, optima: pd.DataFrame, key: str) -> list[str]:
    """Name the depths whose best value is at an end of the sweep."""
    rows = optima[(optima["network"] == network) & (optima["edge"] != "")]
    return [
        f"{network}: the best {key} at depth {listed([str(depth) for depth in ends['depth']])} is the "
        f"{edge} of the sweep. A better one may lie beyond it."
        for edge, ends in rows.groupby("edge", sort=False)
    ]


def _movement(row: Mapping[str, Any], key: str) -> str:
    spread = f"95 % interval {row['low']:+z.2f} to {row['high']:+z.2f}"
    if pd.isna(row["low"]):
        spread = f"seeds {row['least']:+z.2f} to {row['greatest']:+z.2f}"
    return (
        f"{row['network']}: the best {key} is proportional to depth to the power {row['slope']:+z.2f} "
        f"({spread}, depths {row['depths'][0]} to {row['depths'][-1]}, n = {row['n']})."
        + (
            ""
            if row["is_bounded"]
            else " This is inaccurate, because a best value is at an end of the sweep."
        )
    )


def _compared(p: float) -> str:
    """Write `= 0.0100` or `< 0.0001` after p."""
    text = p_value(p)
    return text if text.startswith("<") else f"= {text}"
