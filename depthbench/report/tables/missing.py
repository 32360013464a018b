"""The runs of a study that have no final errors."""

import pandas as pd

from depthbench.analysis.rows import rows_of
from depthbench.report.entries import ReportTable, Table
from depthbench.report.evidence import Evidence
from depthbench.report.tables.formatting import status, whole


def build(evidence: Evidence) -> Table:
    return missing_table(evidence.missing)


def missing_table(missing: pd.DataFrame) -> Table:
    """Build the table of `analysis.missing.missing_runs`."""
    shown = pd.DataFrame(
        {
            "network": missing["network"],
            "depth": missing["depth"],
            "seed": missing["seed"],
            "status": [status(run) for run in rows_of(missing)],
            "updates": [
                "" if pd.isna(made) else f"{whole(made)} of {whole(planned)}"
                for made, planned in zip(missing["step"], missing["steps"], strict=True)
            ],
        }
    )
    note = (
        "Runs of the study without final errors. No mean includes them. A run in progress counts as "
        "interrupted until it ends."
    )
    return Table(note, missing, shown.astype(str), nothing="All runs of the study have finished.")


TABLE = ReportTable(build, title="Missing runs")
