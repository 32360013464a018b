"""Error and cost of each network and depth, and the recommendations."""

from collections.abc import Mapping, Sequence

import pandas as pd

from depthbench.analysis.choice import ERRORS, LEAST_SEEDS, partly_recorded, ranked_costs
from depthbench.analysis.rows import rows_of
from depthbench.report.choosing import COSTS
from depthbench.report.entries import ReportTable, Table
from depthbench.report.evidence import Evidence
from depthbench.report.sentences import measured_differently
from depthbench.report.tables.formatting import number, without_empty_columns

RECOMMENDED = {"chosen": "overall", "chosen_of_network": "for its network"}


def build(evidence: Evidence) -> Table | None:
    if evidence.choice.empty or not evidence.is_trained:
        return None
    return choice_table(evidence.choice, evidence.incomparable_costs, len(evidence.missing))


def choice_table(
    choice: pd.DataFrame, incomparable: Mapping[str, Sequence[str]], unfinished: int = 0
) -> Table:
    """Build the table of `analysis.choice.choose`.

    `incomparable` is `analysis.choice.incomparable_costs`. `unfinished` is the number of runs without final
    errors."""
    rows, error = rows_of(choice), ERRORS[choice["error"].iloc[0]]
    partly = partly_recorded(choice)
    shown = pd.DataFrame(
        {
            "network": choice["network"],
            "depth": choice["depth"],
            "n": choice["n"],
            f"{error}, mean (%)": [number(x) for x in choice["mean"]],
            "standard error": [number(x) for x in choice["se"]],
            "parameters (million)": [number(x, 1e6, 3) for x in choice["parameters"]],
            "multiply-adds (million)": [number(x, 1e6, 1) for x in choice["multiply_adds"]],
            "time (s)": [number(x, 1, 1) for x in choice["seconds"]],
            "peak memory (MB)": [number(x, 1e6, 0) for x in choice["peak_memory"]],
            "lowest error for its cost in": [
                ", ".join(
                    f"{COSTS[cost]} ({row[f'seeds_on_front_{cost}']})"
                    for cost in ranked_costs(choice, incomparable)
                    if row[f"front_{cost}"]
                )
                for row in rows
            ],
            "recommended": [
                ", ".join(words for key, words in RECOMMENDED.items() if row[key]) for row in rows
            ],
        }
    )
    note = (
        "A row has the lowest error for its cost if no row of equal or lower cost has a lower error (times "
        "and memory within 5 % count as equal). In brackets is the number of seeds, of n, in which the "
        "same holds. Time and memory are means over the finished seeds that did "
        "not diverge. Other work on the machine makes the time longer."
    )
    if choice["chosen"].any():
        note = (
            "For each network we recommend the shallowest depth whose mean validation error is within one "
            "standard error of the best depth of that network. Overall we recommend the network and depth "
            "with the fewest multiply-adds whose mean validation error is within one standard error of the "
            "best. "
            f"Depths with fewer than {LEAST_SEEDS} seeds are not considered. {note}"
        )
    for cost, columns in incomparable.items():
        note += f" Values of {COSTS[cost]} cannot be compared: they were {measured_differently(columns)}."
    for cost in partly:
        if cost not in incomparable:
            note += f" Values of {COSTS[cost]} are not ranked, because only some runs recorded it."
    if unfinished:
        note += f" Runs without final errors: {unfinished}. They may change the recommendation."
    return Table(note, choice, without_empty_columns(shown))


TABLE = ReportTable(build, title="Errors and costs", chapter="choice")
