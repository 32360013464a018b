"""Sentences on interventions: what each change costs, and which symptoms do not explain degradation."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from depthbench.analysis.comparison import is_significant
from depthbench.analysis.deviations import changes
from depthbench.analysis.rows import rows_of
from depthbench.analysis.verdict import LEAST_SEEDS
from depthbench.report.sweeping import name_of_key, swept_value
from depthbench.report.tables.formatting import signed
from depthbench.text import listed

MOST_NAMES = 4  # changes that a sentence names
SYMPTOMS = {
    "explodes": "an exploding early gradient",
    "grows": "growth of the weights",
    "vanishes": "a vanishing gradient",
    "any": "at least one of the three symptoms",
}


def change(study: Mapping[str, Any], network: str, baseline: str) -> str:
    """Describe in what a network differs from its baseline, e.g. `learning rate 0.1, not 0.025`.

    study: the content of study.toml."""
    differing = changes(study, network, baseline).items()
    return "; ".join(_change(key, own, other) for key, (own, other) in differing) or "nothing"


def _change(key: str, own: Any, other: Any) -> str:
    if key == "budget":
        return f"{own / other:.3g} times the steps"
    name = "network" if key == "of" else name_of_key(key)
    return f"{name} {_value(own)}, not {_value(other)}"


def _value(value: Any) -> str:
    if value is None:
        return "unset"
    return json.dumps(value) if isinstance(value, list | dict) else swept_value(value)


def costs(table: pd.DataFrame) -> list[str]:
    """Say for each baseline and depth which changes alter the test error. table: `deviations`."""
    rows = table[table["error"] == "test error"]
    lines = []
    for (baseline, depth), group in rows.groupby(["baseline", "depth"], sort=False):
        tested = group[group["n"] >= LEAST_SEEDS]
        start = f"{baseline}, depth {depth}: "
        if tested.empty:
            lines.append(f"{start}a test of changes needs {LEAST_SEEDS} seeds.")
            continue
        changed = tested[is_significant(tested)].sort_values("mean", key=abs, ascending=False)
        total = f"{len(tested)} change{'s'[: len(tested) != 1]}"
        if changed.empty:
            lines.append(f"{start}none of {total} is shown to alter the test error.")
            continue
        named = [f"{row['network']} ({signed(row['mean'])} points)" for row in rows_of(changed[:MOST_NAMES])]
        more = len(changed) - len(named)
        named += [f"{more} more"] * (more > 0)
        are = "is" if len(changed) == 1 else "are"
        most = ", the largest first" if more > 0 else ""
        lines.append(
            f"{start}{len(changed)} of {total} {are} shown to alter the test error{most}: {listed(named)}."
        )
    return lines


def explanations(tally: pd.DataFrame) -> list[str]:
    """Say for each symptom in how many networks without shortcuts it occurs with degradation.

    tally: `analysis.causes.tally`."""
    lines = []
    for symptom, name in SYMPTOMS.items():
        rows = {row["has"]: row for row in rows_of(tally[tally["symptom"] == symptom])}
        if len(rows) == 2 and (rows[True]["total"] or rows[False]["total"]):
            lines.append(
                " ".join([_occurs(name, rows[True], rows[False]), *_follows(rows[True], rows[False])])
            )
    return lines


def _occurs(name: str, with_it: Mapping[str, Any], without: Mapping[str, Any]) -> str:
    """Say how often plain networks degrade with a symptom and without it."""
    name = f"{name[0].upper()}{name[1:]}"
    totals = with_it["total"], without["total"]
    networks = f"{sum(totals)} plain network{'s'[: sum(totals) != 1]} with a verdict"
    if not all(totals):
        among = "all" if totals[0] else "none"
        count = with_it["present"] + without["present"]
        return f"{name} occurs in {among} of the {networks}, of which {count} degrade."
    degrade = f"{with_it['present']} of these {totals[0]} degrade"
    degrade_without = f"{without['present']} of the {totals[1]} without it"
    return f"{name} occurs in {totals[0]} of the {networks}: {degrade}, and {degrade_without}."


def _follows(with_it: Mapping[str, Any], without: Mapping[str, Any]) -> list[str]:
    """Say what the networks that degrade without a symptom, or do not degrade with it, show about it."""
    shown = []
    if without["names"]:
        shown.append(f"not necessary for degradation (absent in {_first(without['names'])})")
    if with_it["names"]:
        shown.append(f"not sufficient (no degradation in {_first(with_it['names'])})")
    return [f"So it is {' and '.join(shown)}."] if shown else []


def _first(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMES
    return listed([*names[:MOST_NAMES], *([f"{more} more"] * (more > 0))])
