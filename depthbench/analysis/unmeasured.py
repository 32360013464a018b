"""List what the probes of a study did not measure."""

from collections.abc import Iterable, Mapping

import pandas as pd

COLUMNS = ["network", "depth", "reason", "seeds", "names"]


def not_measured(runs: Iterable[tuple[str, int, int, Mapping[str, str]]]) -> pd.DataFrame:
    """Return a row for each network, depth and reason why something was not measured.

    runs: network, depth, seed and {name: reason} of each run. Columns: network, depth, reason; seeds, a list;
    names, the list of layers, modules and parameters, in the order of the runs."""
    rows: dict[tuple[str, int, str], dict[str, dict]] = {}
    for network, depth, seed, reasons in runs:
        for name, reason in reasons.items():
            row = rows.setdefault((network, depth, reason), {"seeds": {}, "names": {}})
            row["seeds"][seed] = row["names"][name] = None
    return pd.DataFrame(
        [(*key, list(row["seeds"]), list(row["names"])) for key, row in rows.items()], columns=COLUMNS
    )
