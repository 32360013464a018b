"""How the gradient of a transformer's last block at initialisation changes with the depth, against theory."""

import pandas as pd

from depthbench.analysis.sub_layers import SOURCE, last_block_slopes
from depthbench.report.entries import ReportTable, Table
from depthbench.report.evidence import Evidence
from depthbench.report.tables.formatting import interval, number, signed

NOTE = (
    "The slope is that of the logarithm of the norm of dL/dW against the logarithm of the number of blocks, "
    "for the output map of the last MLP at initialisation, with its 95 % interval (Student's t over seeds). "
    "A slope of -0.5 means that 4 times as many blocks halve this gradient. Theory expects -0.5 with pre-LN, "
    "because the last norm divides by the size of a stream that has grown, and 0 with post-LN "
    f"({SOURCE}). These are orders of upper bounds, for wide networks of many blocks. A row without a "
    "prediction has no theorem that applies."
)


def build(evidence: Evidence) -> Table | None:
    slopes = last_block_slopes(evidence.blocks, evidence.runs)
    if slopes.empty:
        return None
    shown = pd.DataFrame(
        {
            "network": slopes["network"],
            "placement of the norm": slopes["placement"].fillna(""),
            "measured slope": [signed(slope) for slope in slopes["slope"]],
            "95 % interval": [interval(ends) for ends in zip(slopes["low"], slopes["high"], strict=True)],
            "predicted": [number(value, 1, 1) for value in slopes["predicted"]],
            "seeds": slopes["n"],
            "depths": slopes["depths"],
        }
    )
    return Table(NOTE, slopes, shown.astype(str))


TABLE = ReportTable(build, title="Gradient of the last block at initialisation", chapter="published")
