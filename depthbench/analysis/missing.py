"""What a study's grid holds and its results do not, yet."""

import pandas as pd

from depthbench.analysis import FINISHED
from depthbench.study import Study


def missing_runs(study: Study, runs: pd.DataFrame) -> pd.DataFrame:
    """A row for each run of `study`'s grid without final errors, in the grid's order.

    Columns: network, depth, seed; status, `not begun` where nothing is stored; step, the updates made;
    steps, the updates planned (both NA where not recorded); reason, why it failed, else None."""
    found = {(run["network"], run["depth"], run["seed"]): run for run in runs.to_dict("records")}
    rows = []
    for planned in study.runs():
        run = found.get((planned.network, planned.depth, planned.seed), {"status": "not begun"})
        if run["status"] not in FINISHED:
            row = {"network": planned.network, "depth": planned.depth, "seed": planned.seed}
            rows.append(row | {key: run.get(key) for key in ("status", "step", "steps", "reason")})
    columns = ["network", "depth", "seed", "status", "step", "steps", "reason"]
    return pd.DataFrame(rows, columns=columns).astype({"step": "Int64", "steps": "Int64"})
