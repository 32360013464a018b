"""What a study's grid holds and its results do not, yet."""

from collections.abc import Mapping, Sequence
from itertools import product

import pandas as pd

from depthbench.analysis import FINISHED


def missing_runs(grids: Sequence[Mapping[str, Sequence]], runs: pd.DataFrame) -> pd.DataFrame:
    """A row for each run of a study's `grids` (network, depth, seed) without final errors, in their order.

    Columns: network, depth, seed; status, `not begun` where nothing is stored; step, the updates made;
    steps, the updates planned (both NA where not recorded); reason, why it failed, else None."""
    found = {(run["network"], run["depth"], run["seed"]): run for run in runs.to_dict("records")}
    rows = []
    cells = (cell for grid in grids for cell in product(grid["depth"], grid["network"], grid["seed"]))
    for depth, network, seed in dict.fromkeys(cells):
        run = found.get((network, depth, seed), {"status": "not begun"})
        if run["status"] not in FINISHED:
            row = {"network": network, "depth": depth, "seed": seed}
            rows.append(row | {key: run.get(key) for key in ("status", "step", "steps", "reason")})
    columns = ["network", "depth", "seed", "status", "step", "steps", "reason"]
    return pd.DataFrame(rows, columns=columns).astype({"step": "Int64", "steps": "Int64"})
