"""A study's results in sentences: verdicts, and numbers with their unit and n."""

from collections.abc import Collection, Sequence
from typing import Any

import pandas as pd

from depthbench.analysis import STATUSES
from depthbench.analysis.chance import near_chance
from depthbench.analysis.choice import LEAST_SEEDS as LEAST_SEEDS_TO_CHOOSE
from depthbench.analysis.choice import best
from depthbench.analysis.comparison import is_apart
from depthbench.analysis.verdict import LEAST_SEEDS, Verdicts, decide, widest

FEW_SEEDS = 5  # fewer are judged by a trend that needs no normal errors
KEPT = (0.95, 1.05)  # rates of a gradient that neither vanishes nor explodes


def statuses(runs: pd.DataFrame, missing: pd.DataFrame) -> str:
    """e.g. `18 runs: 16 done, 1 diverged, 1 failed; 2 more of the grid are not begun`."""
    counts = runs["status"].value_counts()
    told = ", ".join(f"{counts[status]} {status}" for status in STATUSES if status in counts)
    words = f"{len(runs)} run{'' if len(runs) == 1 else 's'}: {told}"
    absent = int((missing["status"] == "not begun").sum())
    return f"{words}; {absent} more of the grid not begun" if absent else words


def train_images(study: dict) -> str:
    """Which images the train error of `study` (study.toml) in evaluation mode is taken on."""
    size = study.get("evaluate", {}).get("train_size")
    return f"{size:,} of the training images" if size else "all training images"


def degradation(summary: pd.DataFrame) -> list[str]:
    """A sentence a network: its train error at the least and the greatest depth, and the difference."""
    sentences = []
    for network, rows in summary[summary["n"] > 0].groupby("network", sort=False):
        ends = [rows.loc[rows["depth"].idxmin()], rows.loc[rows["depth"].idxmax()]]
        told = [
            f"{row['train_error_eval_mean']:.2f} % at depth {row['depth']} (n = {row['n']}"
            + (f", {row['diverged']} diverged)" if row["diverged"] else ")")
            for row in ends
        ]
        if len(rows) == 1:
            sentences.append(f"{network}: mean train error {told[0]}.")
            continue
        change = ends[1]["train_error_eval_mean"] - ends[0]["train_error_eval_mean"]
        sentences.append(
            f"{network}: mean train error {told[0]} and {told[1]}: {change:+.2f} percentage points."
        )
    return sentences


def at_chance(summary: pd.DataFrame, runs: pd.DataFrame) -> list[str]:
    """The networks whose mean train error is at chance at every depth: what does not train at all cannot
    train worse. None of fewer seeds than a verdict takes."""
    found = summary.groupby("network", sort=False).agg({"train_error_eval_mean": "min", "n": "max"})
    learned_nothing = found["train_error_eval_mean"] > near_chance(runs)
    return list(found.index[learned_nothing & (found["n"] >= LEAST_SEEDS)])


def verdicts(judged: Verdicts, untrained: Sequence[str] = ()) -> list[str]:
    """A sentence a network, whether its train error rises with depth; and one a pair of twins, whether
    residual connections take that away; none of those that are `untrained`, but one that names them.

    A network is judged by the widest pair of depths that seeds enough have; by its trend where there is one
    over as many seeds and they are 3 or 4 or a run diverged, since a t test wants errors that are roughly
    normal; by sign flips where a run of 5 seeds or more diverged and there is no trend."""
    trends = {row["network"]: row for row in judged.trends.to_dict("records")}
    found: dict[str, str] = {}
    sentences = []
    for network, rows in judged.degradation.groupby("network", sort=False):
        row = widest(rows.to_dict("records"))
        if row is None or network in untrained:
            continue
        trend = trends.get(network)
        evidence, has_outlier = _evidence(row, judged.margin), bool(rows["diverged"].sum())
        if trend and trend["n"] == row["n"] and (row["n"] < FEW_SEEDS or has_outlier):
            row |= {"verdict": trend["verdict"]}
            told = trend | {"mean": trend["rise"], "p_holm": trend["p"]}
            evidence = _evidence(told, judged.margin)
            evidence += "" if row["verdict"] == "absent" else ", Page's trend test"
        elif row["diverged"] and row["n"] >= FEW_SEEDS:
            p = row["p_sign_flip"]
            row |= {"verdict": decide(row["n"], row["mean"], row["upper"], p, judged.margin)}
            evidence = _evidence(row | {"p_holm": p}, judged.margin)
            evidence += "" if row["verdict"] == "absent" else ", sign-flip test"
        found[network] = row["verdict"]
        sentences.append(
            f"{network}: degradation is {row['verdict']} from depth {row['shallow']} to {row['deep']} "
            f"({evidence})."
        )
    for (network, _), rows in judged.removals.groupby(["network", "residual"], sort=False):
        row = widest(rows.to_dict("records"))
        if row is not None and network not in untrained:
            sentences.append(
                f"{_removal(row, found)}: {row['residual']} against {row['network']}, depth {row['shallow']} "
                f"to {row['deep']} ({_evidence(row)})."
            )
    if untrained:
        sentences.append(
            f"At chance at every depth, so that there is nothing to degrade: {', '.join(untrained)}."
        )
    return sentences


def _removal(row: dict, found: dict[str, str]) -> str:
    """What a row of `removals` says, given the verdict on each network."""
    if row["verdict"] == "inconclusive":
        return "Whether residual connections mend it is inconclusive"
    if row["verdict"] == "absent":
        return "Residual connections do not lower the rise by the margin"
    if found.get(row["network"]) != "present":
        return "The residual network's error rises less, where degradation of the plain one is not shown"
    how = {"absent": "", "present": " in part"}.get(found.get(row["residual"]), ", at least in part")
    return f"Residual connections mend it{how}"


def rates(measured: pd.DataFrame) -> list[str]:
    """A sentence a network, of its greatest depth: how its gradient grows towards the input at
    initialisation, and what theory says (`analysis.theory.measured_rates`)."""
    sentences = []
    for network, rows in measured.groupby("network", sort=False):
        rows = rows[rows["depth"] == rows["depth"].max()]
        found, n = rows["mean"], rows["n"].min()
        does = _does(found.min(), found.max())
        predicted = rows["predicted"].dropna()
        is_bound = (rows["kind"] == "batch_norm_limit").any()
        of = "theory of wide, fully connected layers: at most" if is_bound else "theory:"
        theory = f"; {of} {_from_to(predicted)}" if len(predicted) else ""
        sentences.append(
            f"{network}, depth {rows['depth'].iloc[0]}: the gradient {does} at initialisation, its squared "
            f"norm multiplied by {_from_to(found)} a {rows['per'].iloc[0]} towards the input "
            f"(n = {n}{theory})."
        )
    return sentences


def responses(found: pd.DataFrame) -> str:
    """A sentence of the greatest depth of each network (`analysis.layers.summarise_responses`); empty where
    there is none."""
    rows = found[found["depth"] == found.groupby("network")["depth"].transform("max")]
    told = [
        f"{row.network} {row.mean:.3g} at depth {row.depth} (n = {row.n})"
        for row in rows.itertuples(name="Row")
    ]
    return (
        f"Standard deviation of the median layer, at the last probed step: {', '.join(told)}." if told else ""
    )


def _does(low: float, high: float) -> str:
    """What a gradient of rates from `low` to `high`, over the stages, does."""
    if low >= KEPT[0] and high <= KEPT[1]:
        return "is about kept"
    if low > KEPT[1]:
        return "explodes"
    if high < KEPT[0]:
        return "vanishes"
    return (
        "explodes in part"
        if low >= KEPT[0]
        else "vanishes in part"
        if high <= KEPT[1]
        else "does both, by stage"
    )


def _from_to(values: pd.Series) -> str:
    low, high = f"{values.min():.2f}", f"{values.max():.2f}"
    return low if low == high else f"{low} to {high}"


def choice(table: pd.DataFrame, unfinished: int = 0) -> list[str]:
    """Which network and depth to take, of all and of each network (`analysis.choice.choose`); where that
    cannot be said, how to get it. Nothing where there is nothing to choose from. `unfinished`: so many runs
    of the study have no final errors."""
    if len(table) < 2:
        return []
    if table["error"].iloc[0] != "val_error":
        return [
            "No depth is recommended: there are no validation images, and one that is chosen by its test "
            "error has no error left that can be believed. The same command with --set data.val_fraction=0.1 "
            "and a --name of its own sets images apart."
        ]
    least = LEAST_SEEDS_TO_CHOOSE
    if (table["n"] < least).all():
        return [
            f"No depth is recommended: that takes {least} seeds or more, and --seeds {least + 1} adds them."
        ]
    if not table["chosen"].any():
        return [f"No depth is recommended: none of {least} seeds or more has learned anything."]
    (row,) = table[table["chosen"]].to_dict("records")
    top = best(table[table["n"] >= least])
    millions = f"{row['multiply_adds'] / 1e6:.3g} million multiply-adds an image"
    size = f"{millions} and {row['parameters'] / 1e6:.2g} million parameters"
    taken = f"Take {row['network']} at depth {row['depth']}: validation error {row['mean']:.2f}"
    lowest = f"{top['mean']:.2f} ± {top['se']:.2f} %, mean ± standard error, n = {top['n']}"
    if (row["network"], row["depth"]) == (top["network"], top["depth"]):
        sentences = [
            f"{taken} ± {row['se']:.2f} % (mean ± standard error, n = {row['n']}) at {size}. It is the best, "
            "and nothing with fewer multiply-adds comes within one standard error of it."
        ]
    else:
        times = top["multiply_adds"] / row["multiply_adds"]
        more = f"{times:.2g} times as many" if times >= 1.05 else "as many"
        sentences = [
            f"{taken} % (n = {row['n']}) at {size}. It has the fewest multiply-adds within one "
            f"standard error of the best, {top['network']} at depth {top['depth']} ({lowest}), which has "
            f"{more}."
        ]
    if (table["n"] < least).any():
        sentences.insert(0, f"Depths of fewer than {least} seeds are not judged.")
    if unfinished:
        runs = f"{unfinished} runs of the study have" if unfinished > 1 else "one run of the study has"
        sentences.insert(0, f"This may change yet: {runs} no final errors.")
    if table["network"].nunique() > 1:
        each = table[table["chosen_of_network"]]
        told = ", ".join(f"{n} {depth}" for n, depth in zip(each["network"], each["depth"], strict=True))
        sentences.append(f"The least depth within one standard error of each network's own best: {told}.")
    return sentences


def _evidence(row: dict, margin: float | None = None) -> str:
    """`margin`: of a verdict `absent`, which rests on the upper bound and not on p."""
    if margin is not None and row.get("verdict") == "absent":
        bound = f"one-sided 95% upper bound {row['upper']:+.2f}, the margin is {margin:g}"
        return f"{row['mean']:+.2f} percentage points, n = {row['n']}, {bound}"
    p = (
        ""
        if pd.isna(row["p_holm"])
        else ", p < 0.0001"
        if row["p_holm"] < 1e-4
        else f", p = {row['p_holm']:.4f}"
    )
    seeds = f"n = {row['n']}" + (", too few" if row["n"] < LEAST_SEEDS else p)
    return f"{row['mean']:+.2f} percentage points, {seeds}"


def copies(found: pd.DataFrame, other_images: Collection[str] = ()) -> list[str]:
    """A sentence a study whose errors are all the first one's, of the rows of
    `analysis.comparison.differences`; none where these errors are all one, as at chance or 0, or of studies
    of `other_images`."""
    return [
        f"{study} has the very same errors everywhere: it is a copy, or what differs has no effect."
        for study, rows in found.groupby("study", sort=False)
        if study not in other_images
        and not any(any(each.values()) for each in rows["differences"])
        and all(errors["first"].nunique() > 1 for _, errors in rows.groupby("error"))
    ]


def unfinished(missing: pd.DataFrame, open_: int) -> list[str]:
    """A sentence of a search of which `open_` networks and seeds ask for another depth, or runs have not
    finished (`analysis.missing.missing_runs`)."""
    told = [f"runs without a final error: {len(missing)}"] if len(missing) else []
    told += [f"networks and seeds that need another depth: {open_}"] if open_ else []
    return [f"The search is not finished ({'; '.join(told)})."] if told else []


def differences(found: pd.DataFrame, first: str, other_images: Collection[str] = ()) -> list[str]:
    """A sentence a study and kind of error, of the rows of `analysis.comparison.differences`: in how many
    cells it has the higher or the lower error, and where it differs most; nothing of that of studies of
    `other_images`, whose errors are of another task."""
    sentences = [
        f"{study}: its images are not those of {first}, and no difference is judged."
        for study in other_images
    ]
    for (study, error), rows in found.groupby(["study", "error"], sort=False):
        if study in other_images:
            continue
        apart = is_apart(rows)
        higher, lower = (int((apart & (sign * rows["mean"] > 0)).sum()) for sign in (1, -1))
        cells = f"{len(rows)} networks and depths" if len(rows) > 1 else "1 network and depth"
        if not any(any(each.values()) for each in rows["differences"]):
            sentences.append(f"{study} beside {first}, {error}: the same in every seed of {cells}.")
            continue
        widest = rows.loc[rows.loc[apart if apart.any() else slice(None), "mean"].abs().idxmax()].to_dict()
        sentences.append(
            f"{study} beside {first}, {error}: of {cells} {higher} higher, {lower} lower, "
            f"{len(rows) - higher - lower} not told apart. Widest: {widest['network']} at depth "
            f"{widest['depth']} ({_evidence(widest)})."
        )
    return sentences


def frontier_lines(rows: list[dict[str, Any]], below: float) -> list[str]:
    """A line a network, from rows of `analysis.frontier.summarise`."""
    lines = []
    for row in rows:
        nowhere = "at no depth that was tried"
        if not row["median"] and row["high"]:
            nowhere += " in half of the seeds or more"
        reached = f"up to depth {row['median']:g}" if row["median"] else nowhere
        told = f"{row['network']}: train error below {below:g} % {reached}"
        seeds = f"{row['n']} seed{'s'[: row['n'] > 1]}"
        middle = "median" if row["n"] % 2 else "lower median"
        is_spread = row["n"] > 1 and row["high"]  # else all seeds say the same: nowhere
        told += f" ({middle} of {seeds}, {row['low']:g} to {row['high']:g})" if is_spread else f" ({seeds})"
        if row["open"]:
            told += f"; in {row['open']} of them the deepest that was tried trained: it may be deeper"
        lines.append(told)
    return lines
