"""A study's results in sentences: verdicts, and numbers with their unit and n."""

import pandas as pd

from depthbench.analysis import STATUSES
from depthbench.analysis.choice import LEAST_SEEDS as LEAST_SEEDS_TO_CHOOSE
from depthbench.analysis.choice import best
from depthbench.analysis.verdict import LEAST_SEEDS, Verdicts

FEW_SEEDS = 5  # fewer are judged by a trend that needs no normal errors


def statuses(runs: pd.DataFrame, missing: pd.DataFrame) -> str:
    """e.g. `18 runs: 16 done, 1 diverged, 1 failed; 2 more of the grid are not begun`."""
    counts = runs["status"].value_counts()
    told = ", ".join(f"{counts[status]} {status}" for status in STATUSES if status in counts)
    words = f"{len(runs)} run{'' if len(runs) == 1 else 's'}: {told}"
    absent = int((missing["status"] == "not begun").sum())
    return f"{words}; {absent} more of the grid not begun" if absent else words


def degradation(summary: pd.DataFrame) -> list[str]:
    """A sentence a network: its train error at the least and the greatest depth, and the difference."""
    sentences = []
    for network, rows in summary[summary["n"] > 0].groupby("network", sort=False):
        ends = [rows.loc[rows["depth"].idxmin()], rows.loc[rows["depth"].idxmax()]]
        told = [
            f"{row['train_error_eval_mean']:.2f} % at depth {row['depth']} (n = {row['n']})" for row in ends
        ]
        if len(rows) == 1:
            sentences.append(f"{network}: mean train error {told[0]}.")
            continue
        change = ends[1]["train_error_eval_mean"] - ends[0]["train_error_eval_mean"]
        sentences.append(
            f"{network}: mean train error {told[0]} and {told[1]}: {change:+.2f} percentage points."
        )
    return sentences


def verdicts(judged: Verdicts) -> list[str]:
    """A sentence a network, whether its train error rises with depth; and one a pair of twins, whether
    residual connections take that away from the least depth to the greatest.

    A network of three depths or more is judged by its trend where it has 3 or 4 seeds or a run diverged,
    since a t test wants errors that are roughly normal; else by its least and greatest depth."""
    trends = {row["network"]: row for row in judged.trends.to_dict("records")}
    diverged = judged.degradation.groupby("network")["diverged"].sum()
    sentences = []
    for row in _widest(judged.degradation, ["network"]):
        trend = trends.get(row["network"])
        evidence = _evidence(row)
        if trend and (row["n"] < FEW_SEEDS or diverged[row["network"]]):
            row |= {"verdict": trend["verdict"]}
            evidence = (
                _evidence(trend | {"mean": trend["rise"], "p_holm": trend["p"]}) + ", Page's trend test"
            )
        sentences.append(
            f"{row['network']}: degradation is {row['verdict']} from depth {row['shallow']} to {row['deep']} "
            f"({evidence})."
        )
    words = {
        "present": "Residual connections mend it",
        "absent": "Residual connections change nothing that matters",
        "inconclusive": "Whether residual connections mend it is inconclusive",
    }
    for row in _widest(judged.removals, ["network", "residual"]):
        sentences.append(
            f"{words[row['verdict']]}: {row['residual']} against {row['network']}, depth {row['shallow']} to "
            f"{row['deep']} ({_evidence(row)})."
        )
    return sentences


def choice(table: pd.DataFrame) -> list[str]:
    """Which network and depth to take, of all and of each network (`analysis.choice.choose`); where that
    cannot be said, how to get it. Nothing where there is nothing to choose from."""
    if len(table) < 2:
        return []
    if table["error"].iloc[0] != "val_error":
        return [
            "No depth is recommended: there are no validation images, and one that is chosen by its test "
            "error has no error left that can be believed. The same command with --set data.val_fraction=0.1 "
            "and a --name of its own sets images apart."
        ]
    if not table["chosen"].any():
        least = LEAST_SEEDS_TO_CHOOSE
        return [
            f"No depth is recommended: that takes {least} seeds or more, and --seeds {least + 1} adds them."
        ]
    (row,) = table[table["chosen"]].to_dict("records")
    top = best(table[table["n"] >= LEAST_SEEDS_TO_CHOOSE])
    size = f"with {row['parameters'] / 1e6:.2g} million parameters"
    error = f"validation error {row['mean']:.2f}"
    lowest = f"{top['mean']:.2f} ± {top['se']:.2f} %"
    if (row["network"], row["depth"]) == (top["network"], top["depth"]):
        sentences = [
            f"The best, and the cheapest within one standard error of it: {row['network']} at depth "
            f"{row['depth']}, {error} ± {row['se']:.2f} % (n = {row['n']}), {size}."
        ]
    else:
        other = "" if top["network"] == row["network"] else f"{top['network']}, "
        n = row["n"] if row["n"] == top["n"] else f"{row['n']} and {top['n']}"
        sentences = [
            f"Cheapest within one standard error of the best: {row['network']} at depth {row['depth']}, "
            f"{error} % (best: {other}{lowest} at depth {top['depth']}; n = {n}), "
            f"{size} and {row['multiply_adds'] / top['multiply_adds']:.2g} of the best's multiply-adds."
        ]
    if table["network"].nunique() > 1:
        each = table[table["chosen_of_network"]]
        told = ", ".join(f"{n} {depth}" for n, depth in zip(each["network"], each["depth"], strict=True))
        sentences.append(f"The least depth within one standard error of each network's own best: {told}.")
    return sentences


def _widest(frame: pd.DataFrame, keys: list[str]) -> list[dict]:
    """Of each network, or pair of twins, the row of its least and greatest depth."""
    rows = frame.assign(width=frame["deep"] - frame["shallow"]).sort_values("width", kind="stable")
    return rows.groupby(keys, sort=False).tail(1).to_dict("records")


def _evidence(row: dict) -> str:
    p = "p < 0.0001" if row["p_holm"] < 1e-4 else f"p = {row['p_holm']:.4f}"
    seeds = f"n = {row['n']}" + (", too few" if row["n"] < LEAST_SEEDS else f", {p}")
    return f"{row['mean']:+.2f} percentage points, {seeds}"
