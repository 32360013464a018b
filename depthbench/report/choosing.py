"""Sentences on the recommended network and depth, and on the lowest errors for their cost."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import pandas as pd

from depthbench.analysis.choice import ERRORS, LEAST_SEEDS, ranked_costs, runner_up
from depthbench.analysis.classes import weak_classes
from depthbench.analysis.rows import rows_of
from depthbench.machine.units import in_count
from depthbench.report.sentences import MOST_CELLS, named_classes
from depthbench.store.record import Record
from depthbench.text import listed

COSTS = {
    "parameters": "parameters",
    "multiply_adds": "multiply-adds",
    "seconds": "time",
    "peak_memory": "peak memory",
}
"""The costs of `analysis.choice.COSTS` in words."""


def choice(
    table: pd.DataFrame,
    unfinished: int = 0,
    *,
    images: str = "",
    classes: pd.DataFrame | None = None,
) -> list[str]:
    """Recommend a network and depth, overall and for each network, or say what a recommendation needs.

    `table` is `analysis.choice.choose`. Empty if it has fewer than two rows. `unfinished`: runs of the study
    without final errors. `images`: `validation_images`. `classes`: `analysis.classes.summarise_classes`."""
    if len(table) < 2:
        return []
    if table["error"].iloc[0] != "val_error":
        return [
            "No depth is recommended, because the study has no validation set. Choosing a depth by "
            "its test error would make that error too optimistic. Add `--set data.val_fraction=0.1` and a "
            "new `--name` to the command to reserve validation images."
        ]
    least = LEAST_SEEDS
    if (table["n"] < least).all():
        return [
            f"No depth is recommended: this needs at least {least} finished seeds of a network and depth, "
            f"but there are {table['n'].max()} at most. Add `--seeds {least}`."
        ]
    if not table["chosen"].any():
        return [f"No depth is recommended: no network with at least {least} seeds is better than chance."]
    (row,) = rows_of(table[table["chosen"]])
    sentences = [*_recommendation(row, runner_up(table), images), *_weak_classes(row, classes)]
    if (table["n"] < least).any():
        sentences.insert(0, f"Depths with fewer than {least} seeds are not considered.")
    if unfinished:
        runs = f"{unfinished} runs of the study have" if unfinished > 1 else "one run of the study has"
        sentences.insert(0, f"This may change: {runs} no final errors yet.")
    if table["network"].nunique() > 1:
        each = table[table["chosen_of_network"]]
        depths = ", ".join(f"{n} {depth}" for n, depth in zip(each["network"], each["depth"], strict=True))
        sentences.append(
            f"Shallowest depth of each network within one standard error of its best depth: {depths}."
        )
    return sentences


def pareto(table: pd.DataFrame, incomparable: Collection[str] = ()) -> list[str]:
    """Name the networks and depths that no other beats in both error and cost, with their uncertainty.

    `table` is `analysis.choice.choose`. Empty if it has fewer than two rows, or some have no multiply-adds.
    The first text is on multiply-adds, the second on other costs. incomparable: costs to leave out."""
    costs = ranked_costs(table, incomparable)
    if len(table) < 2 or "multiply_adds" not in costs:
        return []
    front = table[table["front_multiply_adds"]].sort_values("multiply_adds")
    shown = [_on_front(row) for row in rows_of(front)][:MOST_CELLS]
    more = [f"{len(front) - MOST_CELLS} more in the table"] * (len(front) > MOST_CELLS)
    error = ERRORS[table["error"].iloc[0]]
    first = (
        f"Lowest {error} for their multiply-adds: {listed([*shown, *more])}. Brackets give multiply-adds per "
        "image, the mean error with its standard error, and in how many seeds the same holds."
    )
    others = [
        f"Lowest for their {COSTS[cost]}: {_names(table[table[f'front_{cost}']].sort_values(cost), front)}."
        for cost in costs
        if cost != "multiply_adds"
    ]
    return [first, *filter(None, [" ".join(others)])]


def _names(rows: pd.DataFrame, known: pd.DataFrame) -> str:
    """Name the network and depth of each of `rows`, or say that they are those of `known`."""
    if set(rows.index) == set(known.index):
        return "the same"
    return listed([f"{row['network']} {row['depth']}" for row in rows_of(rows)])


def _on_front(row: Mapping[str, Any]) -> str:
    error = f"{row['mean']:.2f} %" if pd.isna(row["se"]) else f"{row['mean']:.2f} ± {row['se']:.2f} %"
    seeds = f"{row['seeds_on_front_multiply_adds']} of {row['n']} seed{'s'[: row['n'] > 1]}"
    return f"{row['network']} {row['depth']} ({in_count(row['multiply_adds'])}, {error}, {seeds})"


def validation_images(records: Iterable[Record], data: Mapping[str, Any]) -> str:
    """Describe the validation images of a study; empty if the results do not tell their number.

    `data` is the [data] table of study.toml, for records of versions that did not count the images."""
    if counts := {record.val_images for record in records if record.val_images}:
        return f"{max(counts):,} images"
    if size := data.get("val_size"):
        return f"{size:,} images"
    if fraction := data.get("val_fraction"):
        return f"{100 * fraction:g} % of the training images"
    return ""


def _recommendation(row: Mapping[str, Any], other: pd.Series | None, images: str) -> list[str]:
    """Recommend `row` of `choose`. `other` is the runner-up."""
    millions = f"{row['multiply_adds'] / 1e6:.3g} million multiply-adds per image"
    on = f" on {images}" if images else ""
    recommended = (
        f"Recommended: {row['network']} at depth {row['depth']}, validation error {_error(row)}{on}, "
        f"{millions} and {row['parameters'] / 1e6:.2g} million parameters."
    )
    if other is None:
        return [recommended]
    times = other["multiply_adds"] / row["multiply_adds"]
    cost = f"{times:.2g} times as many" if abs(times - 1) >= 0.05 else "about as many"
    name = f"{other['network']} at depth {other['depth']}"
    if other["mean"] < row["mean"]:
        return [
            f"{recommended} It has the fewest multiply-adds of all choices within one standard error of the "
            f"best. The best, and the runner-up, is {name}: {_error(other)}, with {cost} multiply-adds."
        ]
    return [
        f"{recommended} It has the lowest error, and no other choice with fewer multiply-adds is within one "
        f"standard error of it. The runner-up is {name}: {_error(other)}, with {cost} multiply-adds."
    ]


def _error(row: Mapping[str, Any] | pd.Series) -> str:
    """Write the mean error of a row of `choose` with its spread over the seeds."""
    return (
        f"{row['mean']:.2f} % (standard error {row['se']:.2f}, seeds {row['min']:.2f} to {row['max']:.2f}, "
        f"n = {row['n']})"
    )


def _weak_classes(row: Mapping[str, Any], classes: pd.DataFrame | None) -> list[str]:
    """Name the classes that the recommended network rarely recognises; empty if there are none."""
    if classes is None:
        return []
    weak, mean = weak_classes(classes, row["network"], row["depth"])
    if not weak:
        return []
    return [
        "Caution: on the test images, this network and depth has a recall below half of the mean over the "
        f"classes ({mean:.2f} %) for {named_classes(weak)}."
    ]
