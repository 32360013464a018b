"""What a study asks for and its results do not hold, yet."""

from collections.abc import Iterable

import pandas as pd

from depthbench.analysis import FINISHED


def missing_runs(asked: Iterable[tuple[int, str, int]], runs: pd.DataFrame) -> pd.DataFrame:
    """A row for each of the `asked` runs (depth, network, seed) without final errors, in their order.

    Columns: network, depth, seed; status, `not begun` where nothing is stored; step, the updates made;
    steps, the updates planned (both NA where not recorded); reason, why it failed, else None."""
    found = {(run["network"], run["depth"], run["seed"]): run for run in runs.to_dict("records")}
    rows = []
    for depth, network, seed in asked:
        run = found.get((network, depth, seed), {"status": "not begun"})
        if run["status"] not in FINISHED:
            row = {"network": network, "depth": depth, "seed": seed}
            rows.append(row | {key: run.get(key) for key in ("status", "step", "steps", "reason")})
    columns = ["network", "depth", "seed", "status", "step", "steps", "reason"]
    return pd.DataFrame(rows, columns=columns).astype({"step": "Int64", "steps": "Int64"})
