"""Measured and predicted rates of the gradient at initialisation."""

import pandas as pd

from depthbench.analysis.theory import BOUNDS
from depthbench.report.entries import ReportTable, Table
from depthbench.report.evidence import Evidence
from depthbench.report.tables.formatting import (
    interval,
    interval_note,
    number,
    without_empty_columns,
)
from depthbench.text import listed


def build(evidence: Evidence) -> Table | None:
    return rates_table(evidence.rates) if len(evidence.rates) else None


def rates_table(rates: pd.DataFrame) -> Table:
    """Build the table of `analysis.theory.measured_rates`."""
    shown = pd.DataFrame(
        {
            **{key: rates[key] for key in ("network", "depth", "stage")},
            "rate per": rates["per"],
            "measured": [number(x, 1, 3) for x in rates["mean"]],
            "95 % interval": [interval(ends, 3) for ends in zip(rates["low"], rates["high"], strict=True)],
            "n": rates["n"],
            "predicted": [number(x, 1, 3) for x in rates["predicted"]],
            # a bound is not an expected value
            "difference (%)": [number(x, 1, 1) for x in rates["difference"].mask(rates["kind"].isin(BOUNDS))],
            **{key: rates[key].astype(object).fillna("") for key in ("formula", "assumption")},
        }
    )
    note = (
        "A rate is the factor by which the squared norm of dL/dz grows per layer (or residual block) towards "
        "the input, at initialisation. z is a layer's output before normalisation. Gradients explode if the "
        "rate is above 1, and vanish if it is below 1. The measured rate comes from a straight line fitted "
        "to the logarithms of the norms in a stage. The table shows its geometric mean over n seeds."
        f"{interval_note(rates['n'])} Residual networks with batch normalisation and identity shortcuts are "
        "omitted, because their norm follows a power of the depth and has no rate. Stages in which a norm is "
        f"0, as in branches that start at zero, are omitted too.{_sources(rates)}"
    )
    return Table(note, rates, without_empty_columns(shown))


def _sources(rates: pd.DataFrame) -> str:
    """Name the source of each formula; a column of them would not fit on a page."""
    known = rates.dropna(subset=["predicted"])
    if known.empty:
        return " No formula predicts these rates."
    empty = " A row without a prediction has no formula that applies." if len(known) < len(rates) else ""
    formulas = known.groupby("source", sort=False)["formula"].unique()
    return empty + "".join(
        f" Source of {listed(names.tolist())}: {source}." for source, names in formulas.items()
    )


TABLE = ReportTable(build, title="Measured and predicted rates at initialisation", chapter="published")
