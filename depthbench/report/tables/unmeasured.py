"""The table of what the probes of a study did not measure, and why."""

import pandas as pd

from depthbench.report.entries import ReportTable, Table
from depthbench.report.evidence import Evidence

MOST_NAMES = 12  # in a cell


def build(evidence: Evidence) -> Table | None:
    return unmeasured_table(evidence.not_measured) if len(evidence.not_measured) else None


def unmeasured_table(table: pd.DataFrame) -> Table:
    """Build the table of `analysis.unmeasured.not_measured`."""
    shown = pd.DataFrame(
        {
            "network": table["network"],
            "depth": table["depth"],
            "seeds": [", ".join(map(str, seeds)) for seeds in table["seeds"]],
            "not measured, or not in full": [_listed(names) for names in table["names"]],
            "reason": table["reason"],
        }
    )
    raw = table.assign(
        seeds=[" ".join(map(str, seeds)) for seeds in table["seeds"]],
        names=[" ".join(names) for names in table["names"]],
    )
    note = (
        "Layers, modules and parameters for which a probe has no value, or a value of only some uses, at a "
        "probed step, with the reason. Figures mark missing values differently from zero, infinite and not a "
        "number."
    )
    return Table(note, raw, shown.astype(str))


def _listed(names: list[str]) -> str:
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


TABLE = ReportTable(build, title="What probes did not measure", chapter="layers")
