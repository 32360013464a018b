"""The deepest depth that trains, for each network and seed of a search."""

import math

import pandas as pd

from depthbench.analysis.frontier import Search
from depthbench.analysis.theory import TRAINABLE
from depthbench.report.entries import ReportTable, Table
from depthbench.report.evidence import Evidence


def build(evidence: Evidence) -> Table | None:
    return frontier_table(evidence.search) if evidence.search else None


def frontier_table(search: Search) -> Table:
    """Build the table, with one row per network in the text, and one per network and seed in the CSV."""
    summary = search.summary
    seeds = dict(list(search.frontiers.groupby("network")))
    shown = pd.DataFrame(
        {
            "network": summary["network"],
            "n": summary["n"],
            "deepest depth that trains, median": [f"{x:g}" for x in summary["median"]],
            "range over seeds": [
                f"{low:g} to {high:g}" for low, high in zip(summary["low"], summary["high"], strict=True)
            ],
            "each seed: deepest that trains, next tested": [
                _each_seed(seeds[name]) for name in summary["network"]
            ],
            "expected by theory": [_expected(x) for x in summary["expected"]],
        }
    )
    note = (
        f"A depth trains if its final train error is below {search.below:g} %. Each seed is listed with the "
        "deepest depth that trains and the next tested depth, which does not. Depths too shallow to fit the "
        "data are ignored. A seed without a depth that trains counts as 0. For an even number of seeds, the "
        f"median is the lower of the two middle values. The depth expected by theory is {TRAINABLE} times "
        "the mean-field depth scale at initialisation, and empty if theory predicts no rate. With "
        "convolutions and batch normalisation, theory bounds the rate from above, and the expected depth "
        "from below."
    )
    return Table(note, search.frontiers.merge(summary, on="network"), shown.astype(str))


def _each_seed(seeds: pd.DataFrame) -> str:
    """Write the rows of one network of `analysis.frontier.frontiers`, e.g. `0: 20, 26; 1: 32, none`."""
    ends = zip(seeds["seed"], seeds["trains"], seeds["fails"], strict=True)
    return "; ".join(
        f"{seed}: {', '.join('none' if pd.isna(x) else str(x) for x in (a, b))}" for seed, a, b in ends
    )


def _expected(depth: float) -> str:
    return "" if math.isnan(depth) else "any depth" if math.isinf(depth) else f"{depth:.0f}"


TABLE = ReportTable(build, title="Deepest trainable depth in numbers", chapter="training")
