"""Best values of a swept setting, and verdicts at the best value of each depth."""

import pandas as pd

from depthbench.analysis.rows import rows_of
from depthbench.analysis.verdict import LEAST_SEEDS
from depthbench.report.entries import ReportTable, Table
from depthbench.report.evidence import Evidence
from depthbench.report.sweeping import swept_value
from depthbench.report.tables.formatting import (
    number,
    p_value,
    seed_differences,
    signed,
    without_empty_columns,
)


def build_verdicts(evidence: Evidence) -> Table | None:
    if not evidence.sweeps:
        return None
    raw = pd.concat([swept.verdicts.assign(setting=swept.sweep.key) for swept in evidence.sweeps])
    rows = [
        {
            "setting": row["setting"],
            "network": row["network"],
            "depths": f"{row['shallow']}, {row['deep']}",
            "best values": f"{swept_value(row['best_shallow'])}, {swept_value(row['best_deep'])}",
            "verdict": row["verdict"],
            "n": row["n"],
            "mean difference (points)": signed(row["mean"]),
            "95 % upper bound": signed(row["upper"]),
            "p": p_value(row["p_holm"]),
            "each seed's difference": seed_differences(row),
        }
        for row in rows_of(raw)
    ]
    note = (
        "A difference is the train error at the deeper depth minus that at the shallower depth, each at "
        "its best value. For each seed, the other seeds choose the best value by their "
        f"{'validation' if evidence.sweeps[0].is_validated else 'train'} error, because a choice by the "
        "judged errors would favour the depth whose errors vary most. Degradation is present if the deeper "
        "network with every value is worse than the shallower one with its best value, and the mean "
        f"difference is at least the margin of {evidence.verdicts['train_error_eval'].margin:g}. p is the "
        "highest of one-sided paired t tests over the values, Holm-corrected over the pairs of depths. "
        "Degradation is absent if the deeper network with its best value is not worse by the margin than "
        "the shallower one with any value: the highest 95 % upper bound is below the margin. Otherwise, "
        f"and with fewer than {LEAST_SEEDS} seeds, it is inconclusive. A diverged run counts at chance "
        "error."
    )
    return Table(note, raw, pd.DataFrame(rows).astype(str), "No pair of depths has common seeds.")


def build_optima(evidence: Evidence) -> Table | None:
    if not evidence.sweeps:
        return None
    raw = pd.concat([swept.optima.assign(setting=swept.sweep.key) for swept in evidence.sweeps])
    rows = [
        {
            "setting": row["setting"],
            "network": row["network"],
            "depth": row["depth"],
            "n": row["n"],
            "best value": swept_value(row["best"]) + (f", the {row['edge']}" if row["edge"] else ""),
            "train error there, mean (%)": number(row["error"]),
            "mean best value of seeds": swept_value(row["optimum"]),
            "range of seeds": _range(row["least"], row["greatest"]),
            "diverged": "; ".join(
                f"{swept_value(value)}: {count} run{'s'[: count > 1]}"
                for value, count in row["diverged"].items()
            ),
        }
        for row in rows_of(raw)
    ]
    note = (
        "Best value: the one with the lowest mean train error over n seeds, of several the middle one. "
        "If it is the lowest or highest value of the sweep, a better one may lie beyond it. The best "
        "value of a seed is the lowest point of the parabola through its lowest error and those of the "
        "neighbouring values. Diverged: values with diverged runs."
    )
    return Table(note, raw, without_empty_columns(pd.DataFrame(rows)))


def _range(least: float, greatest: float) -> str:
    return "" if pd.isna(least) else f"{swept_value(least)} to {swept_value(greatest)}"


VERDICTS = ReportTable(build_verdicts, title="Verdicts at the best value of each depth", chapter="sweep")
OPTIMA = ReportTable(build_optima, title="Best values by network and depth", chapter="sweep")
