"""The standard deviation of the layer responses of each network and depth."""

import pandas as pd

from depthbench.report.entries import ReportTable, Table
from depthbench.report.evidence import Evidence
from depthbench.report.tables.formatting import significant


def build(evidence: Evidence) -> Table | None:
    return responses_table(evidence.responses) if len(evidence.responses) else None


def responses_table(responses: pd.DataFrame) -> Table:
    """Build the table of `analysis.layers.summarise_responses`."""
    shown = pd.DataFrame(
        {
            **{key: responses[key] for key in ("network", "depth", "n")},
            "median layer, mean": [significant(x) for x in responses["mean"]],
            "median layer, range": [
                f"{significant(a)} to {significant(b)}"
                for a, b in zip(responses["min"], responses["max"], strict=True)
            ],
            "smallest of any layer": [significant(x) for x in responses["least"]],
            "largest of any layer": [significant(x) for x in responses["greatest"]],
        }
    )
    note = (
        "Standard deviation of a layer's response at the last probed step of finished runs, after any "
        "normalisation and before the nonlinearity (He et al. 2015, Figure 7). The value of a run is the "
        "median over its layers. Mean and range are over n seeds. Smallest and largest are over all layers "
        "and seeds."
    )
    return Table(note, responses, shown.astype(str))


TABLE = ReportTable(build, title="Layer responses in numbers", chapter="layers")
