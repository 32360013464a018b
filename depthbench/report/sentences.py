"""The results of a study in sentences, with units and the number of seeds n."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from depthbench.analysis import STATUSES
from depthbench.analysis.chance import NEAR
from depthbench.analysis.classes import weak_classes
from depthbench.analysis.comparison import is_significant
from depthbench.analysis.rows import rows_of
from depthbench.analysis.theory import BOUNDS
from depthbench.analysis.verdict import LEAST_SEEDS
from depthbench.errors import any_of
from depthbench.report.tables.formatting import signed, significant
from depthbench.text import listed

KEPT = (0.95, 1.05)  # rates of a gradient that neither vanishes nor explodes
MOST_CLASSES = 5  # that a sentence names
MOST_CELLS = 6  # combinations of network and depth with a sentence each
MOST_NAMES = 3  # networks that a sentence names; if there are more, it gives their number


def statuses(runs: pd.DataFrame, missing: pd.DataFrame) -> str:
    """Count the runs of a study, e.g. `20 runs: 16 done, 1 diverged, 1 failed, 2 not started`."""
    counts = runs["status"].value_counts().to_dict()
    if absent := int((missing["status"] == "not started").sum()):
        counts["not started"] = absent
    by_status = [f"{counts[status]} {status}" for status in (*STATUSES, "not started") if status in counts]
    total = sum(counts.values())
    return f"{total} run{'s'[: total != 1]}: {', '.join(by_status)}"


def train_images(study: Mapping[str, Any], noun: str = "images") -> str:
    """Describe the inputs on which `study` (study.toml) measures the train error in evaluation mode.

    noun: what they are called, as a plural."""
    size = study.get("evaluate", {}).get("train_size")
    return f"{size:,} of the training {noun}" if size else f"all training {noun}"


def how_errors_are_measured(study: Mapping[str, Any], predicts: Collection[str] = ()) -> str:
    """Say how the runs of `study` (study.toml) measured their errors. predicts: see `Evidence.predicts`."""
    if "watched" in study:
        return (
            "Errors are those that the training loop logged. The train error is the one in evaluation mode "
            "or, if the loop logged none, that of the batches it trained on."
        )
    what = (
        f"An error is the percentage of {any_of(predicts)} that are predicted wrongly. " if predicts else ""
    )
    return (
        f"{what}Errors are measured in evaluation mode, without augmentation. The train error is measured on "
        f"{train_images(study, 'sequences' if predicts else 'images')}."
    )


def trends(measured: pd.DataFrame) -> str:
    """Say in which networks the gradient at initialisation vanishes or explodes, at their deepest depth.

    `measured` is `analysis.theory.measured_rates`."""
    networks: dict[str, list[str]] = {}
    deepest = measured[measured["depth"] == measured.groupby("network")["depth"].transform("max")]
    for network, rows in deepest.groupby("network", sort=False):
        networks.setdefault(_trend(rows["mean"].min(), rows["mean"].max()), []).append(str(network))
    total = sum(map(len, networks.values()))
    parts, of_all = [], f" of {total} networks"
    for trend, names in networks.items():
        name = f"{len(names)}{of_all}" if len(names) < total else f"all {total} networks"
        parts.append(f"{trend} in {listed(names) if total <= MOST_NAMES else name}")
        of_all = ""
    return f"Towards the input, the gradient at initialisation {listed(parts)}."


def rates(measured: pd.DataFrame) -> list[str]:
    """Describe, for each network, how the gradient of its deepest depth grows towards the input.

    `measured` is `analysis.theory.measured_rates`. If there are several networks, the first sentence says
    what they have in common."""
    rows = measured[measured["depth"] == measured.groupby("network")["depth"].transform("max")]
    networks = {str(name): part for name, part in rows.groupby("network", sort=False)}
    if len(networks) == 1:
        ((name, part),) = networks.items()
        low, high, n = part["mean"].min(), part["mean"].max(), part["n"].min()
        return [
            f"{name}, depth {part['depth'].iloc[0]}: the gradient {_trend(low, high)} at initialisation. Its "
            f"squared norm is multiplied by {_rate(part, f'n = {n}', ' towards the input')}"
        ]
    if not networks:
        return []
    common, each = _depths_and_seeds(rows)
    lead = (
        "The squared norm of the gradient at initialisation is multiplied by these factors towards the "
        f"input{common}."
    )
    return [lead] + [
        f"{name} {_trend(part['mean'].min(), part['mean'].max())}: {_rate(part, label)}"
        for (name, part), label in zip(networks.items(), each, strict=True)
    ]


def _rate(rows: pd.DataFrame, label: str, towards: str = "") -> str:
    """Write the rates of one network, and in brackets its `label`, if any, and the rates of theory."""
    predicted = rows["predicted"].dropna()
    kinds = set(rows["kind"])
    theory = "theory of wide, fully connected layers:" if "batch_norm_limit" in kinds else "theory:"
    theory += " at most" if kinds & set(BOUNDS) else ""
    notes = [label] * bool(label) + [f"{theory} {_range(predicted)}"] * bool(len(predicted))
    said = f" ({'; '.join(notes)})" if notes else ""
    return f"{_range(rows['mean'])} per {rows['per'].iloc[0]}{towards}{said}."


def zero_gradients(tables: Mapping[str, pd.DataFrame], predicted: pd.DataFrame) -> list[str]:
    """Say in which networks a gradient at initialisation is zero by design, and what theory predicts there.

    `tables` is `Evidence.gradients`, and `predicted` is `analysis.theory.theory`. Empty if there are none."""
    rows = [table[table["by_design"] & (table["step"] == 0)] for table in tables.values()]
    networks = list(dict.fromkeys(network for each in rows for network in each["network"]))
    if not networks:
        return []
    lines = [
        f"At initialisation, the gradient of some layers of {listed(networks)} is exactly 0 by design: a "
        "later factor starts at zero, as at the end of a zero-initialised branch, or a branch is dropped. No "
        "gradient has vanished there."
    ]
    known = predicted[(predicted["kind"] == "shortcut") & predicted["network"].isin(networks)]
    if len(known):
        named = listed(list(dict.fromkeys(known["network"])))
        lines.append(
            f"In theory, the blocks of {named} begin as their shortcut. From block to block of a stage, the "
            f"squared norm of the gradient is multiplied by {_range(known['predicted'])} towards the input "
            f"({known['source'].iloc[0]})."
        )
    return lines


def responses(summary: pd.DataFrame) -> str:
    """Write a sentence on the deepest depth of each network; empty if there are no responses.

    `summary` is `analysis.layers.summarise_responses`."""
    rows = summary[summary["depth"] == summary.groupby("network")["depth"].transform("max")]
    if rows.empty:
        return ""
    common, each = _depths_and_seeds(rows)
    networks = [
        f"{significant(row['mean'])} in {row['network']}" + (f" ({label})" if label else "")
        for row, label in zip(rows_of(rows), each, strict=True)
    ]
    return (
        f"The median standard deviation of the layer responses at the last probed step{common} is "
        f"{listed(networks)}."
    )


def _depths_and_seeds(rows: pd.DataFrame) -> tuple[str, list[str]]:
    """Say the depth and the number of seeds once if all networks share them, otherwise for each network."""
    each = rows.groupby("network", sort=False).agg({"depth": "first", "n": "min"})
    labels = [f"depth {row['depth']}, n = {row['n']}" for row in rows_of(each)]
    if len(set(labels)) == 1:
        return f" at depth {each['depth'].iloc[0]} (n = {each['n'].iloc[0]})", [""] * len(labels)
    return "", labels


def _trend(low: float, high: float) -> str:
    """Describe a gradient with rates from `low` to `high` over the stages."""
    if low >= KEPT[0] and high <= KEPT[1]:
        return "stays about constant"
    if low > KEPT[1]:
        return "explodes"
    if high < KEPT[0]:
        return "vanishes"
    if low >= KEPT[0]:
        return "explodes in some stages"
    if high <= KEPT[1]:
        return "vanishes in some stages"
    return "vanishes in some stages and explodes in others"


def _range(values: pd.Series) -> str:
    low, high = f"{values.min():.2f}", f"{values.max():.2f}"
    return low if low == high else f"{low} to {high}"


def named_classes(recalls: Mapping[str, float]) -> str:
    """Name classes with their recalls, class -> percent, the first MOST_CLASSES of them."""
    named = [f"{name} ({recall:.2f} %)" for name, recall in list(recalls.items())[:MOST_CLASSES]]
    more = f" and {len(recalls) - MOST_CLASSES} more" if len(recalls) > MOST_CLASSES else ""
    return f"{', '.join(named)}{more}"


def weak_recalls(classes: pd.DataFrame) -> list[str]:
    """Name the classes with a recall below half of the mean, for each network and depth that has some.

    `classes` is `analysis.classes.summarise_classes`. Omits networks near chance, which predict few
    classes. The first sentence says what the others list."""
    lines = []
    for network, depth in dict.fromkeys(zip(classes["network"], classes["depth"], strict=True)):
        weak, mean = weak_classes(classes, network, depth)
        of_cell = (classes["network"] == network) & (classes["depth"] == depth)
        total = int((of_cell & (classes["metric"] == "recall") & classes["mean"].notna()).sum())
        if weak and mean > 100 / total + NEAR:
            lines.append(f"{network} at depth {depth} (mean {mean:.2f} %): {named_classes(weak)}.")
    if not lines:
        return []
    more = [f"{len(lines) - MOST_CELLS} more combinations are in the table."] * (len(lines) > MOST_CELLS)
    return [
        "These classes have a recall below half of the mean over the classes. If they have fewer training "
        "images than others, `--set class_weights=balanced` gives them more weight.",
        *lines[:MOST_CELLS],
        *more,
    ]


def measured_differently(columns: Iterable[str]) -> str:
    """Say what differs between the measurements of a cost. `columns`: as in `choice.incomparable_costs`."""
    words = {
        "device": "devices",
        "threads": "numbers of threads",
        "commit": "versions of the code",
        "peak_memory_of": "methods",
    }
    return "measured with different " + " and ".join(words[column] for column in columns)


def _evidence(row: Mapping[str, Any], margin: float | None = None) -> str:
    """Describe the difference, n and p of a test; for `absent`, the upper bound and `margin` instead of p."""
    if margin is not None and row.get("verdict") == "absent":
        bound = f"one-sided 95 % upper bound {signed(row['upper'])}, margin {margin:g}"
        return f"{signed(row['mean'])} percentage points, n = {row['n']}, {bound}"
    return f"{signed(row['mean'])} percentage points, n = {row['n']}" + _p(row)


def _p(row: Mapping[str, Any]) -> str:
    if row["n"] < LEAST_SEEDS:
        return ", too few to judge"
    if pd.isna(row["p_holm"]):
        return ""
    return ", p < 0.0001" if row["p_holm"] < 1e-4 else f", p = {row['p_holm']:.4f}"


def copies(differences: pd.DataFrame, baseline: str, other_images: Collection[str] = ()) -> list[str]:
    """Write a sentence for each study with exactly the errors of `baseline`, the first study.

    `differences` is `analysis.comparison.differences`. Omits studies of `other_images`, and studies in which
    all errors are the same number, such as chance or 0."""
    return [
        f"{study} has exactly the same errors as {baseline}: it is a copy, or the changed settings have no "
        "effect."
        for study, rows in differences.groupby("study", sort=False)
        if study not in other_images
        and not any(any(each.values()) for each in rows["differences"])
        and all(errors["first"].nunique() > 1 for _, errors in rows.groupby("error"))
    ]


def unfinished(missing: pd.DataFrame, searching: int) -> list[str]:
    """State why a search is not finished; empty if it is.

    `searching` is the number of networks and seeds that need another depth."""
    reasons = []
    if runs := len(missing):
        reasons.append(f"{runs} run{'s have' if runs > 1 else ' has'} no final error")
    if searching:
        plural = "s" if searching > 1 else ""
        reasons.append(
            f"{searching} combination{plural} of network and seed need{'s'[: searching == 1]} another depth"
        )
    return [f"The search is not finished: {', and '.join(reasons)}."] if reasons else []


def differences(
    table: pd.DataFrame,
    baseline: str,
    other_images: Collection[str] = (),
    unknown_images: Collection[str] = (),
) -> list[str]:
    """State, for each study and kind of error, how often it is higher or lower than that of the baseline.

    `table` is `analysis.comparison.differences`. Errors of the studies in `other_images` are not
    compared, because their images differ, or may differ (`unknown_images`)."""
    sentences = [
        f"{study} {'may have' if study in unknown_images else 'has'} different images from {baseline}, so no "
        "difference is tested."
        for study in other_images
    ]
    for (study, error), rows in table.groupby(["study", "error"], sort=False):
        if study in other_images:
            continue
        significant = is_significant(rows)
        higher, lower = (int((significant & (sign * rows["mean"] > 0)).sum()) for sign in (1, -1))
        cells = f"{len(rows)} combination{'s'[: len(rows) > 1]} of network and depth"
        compared = f"{str(error).capitalize()} of {study}, compared with {baseline}, is"
        if not any(any(each.values()) for each in rows["differences"]):
            sentences.append(f"{compared} the same in every seed of {cells}.")
            continue
        candidates = rows[significant] if significant.any() else rows
        largest = rows_of(candidates)[candidates["mean"].abs().argmax()]
        counts = {"higher": higher, "lower": lower}
        parts = [f"significantly {word} in {count}" for word, count in counts.items() if count]
        if rest := len(rows) - higher - lower:
            parts.append(f"not significantly different in {rest}")
        sentences.append(
            f"{compared} {listed(parts)} of {cells}. Largest "
            f"{'significant ' if significant.any() else ''}difference: {largest['network']} at depth "
            f"{largest['depth']} ({_evidence(largest)})."
        )
    return sentences


def frontier_lines(rows: Sequence[Mapping[str, Any]], below: float) -> list[str]:
    """Write one line per network from rows of `analysis.frontier.summarise`."""
    lines = []
    for row in rows:
        nowhere = "at no tested depth"
        if not row["median"] and row["high"]:
            nowhere += " in at least half of the seeds"
        reached = f"up to depth {row['median']:g}" if row["median"] else nowhere
        line = f"{row['network']}: train error below {below:g} % {reached}"
        seeds = f"{row['n']} seed{'s'[: row['n'] > 1]}"
        middle = "median" if row["n"] % 2 else "lower median"
        has_spread = row["n"] > 1 and row["high"]  # without the latter, no seed trains at any depth
        line += f" ({middle} of {seeds}, {row['low']:g} to {row['high']:g})" if has_spread else f" ({seeds})"
        if row["open"]:
            line += (
                f". {row['open']} seed{'s'[: row['open'] > 1]} trained at the maximum depth tested, so the "
                "limit may be deeper"
            )
        lines.append(f"{line}.")
    return lines
