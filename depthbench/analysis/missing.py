"""Planned runs of a study that have no final errors yet."""

from collections.abc import Iterable

import pandas as pd

from depthbench.analysis import FINISHED
from depthbench.analysis.rows import rows_of


def missing_runs(planned: Iterable[tuple[int, str, int]], runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each of the `planned` runs (depth, network, seed) without final errors, in this order.

    Columns: network, depth, seed; status, `not started` if nothing is stored; step, the updates made; steps,
    the updates planned (both NA if not recorded); reason, why the run failed, or None."""
    stored = {(run["network"], run["depth"], run["seed"]): run for run in rows_of(runs)}
    rows = []
    for depth, network, seed in planned:
        run = stored.get((network, depth, seed), {"status": "not started"})
        if run["status"] not in FINISHED:
            row = {"network": network, "depth": depth, "seed": seed}
            rows.append(row | {key: run.get(key) for key in ("status", "step", "steps", "reason")})
    columns = ["network", "depth", "seed", "status", "step", "steps", "reason"]
    return pd.DataFrame(rows, columns=columns).astype({"step": "Int64", "steps": "Int64"})
