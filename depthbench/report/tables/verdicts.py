"""The statistical tests for degradation, and for its removal by residual connections."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd

from depthbench.analysis.answers import FEW_SEEDS
from depthbench.analysis.rows import rows_of
from depthbench.analysis.summary import ERRORS
from depthbench.analysis.verdict import LEAST_SEEDS, Verdicts
from depthbench.report.entries import ReportTable, Table
from depthbench.report.evidence import Evidence
from depthbench.report.tables.formatting import p_value, seed_differences, signed

TEST_NOTE = (
    "As in the table of verdicts on the train error, which explains the tests. A test error that rises with "
    "depth is degradation only if the train error rises too. A rise of the test error alone can be "
    "overfitting."
)


def build(evidence: Evidence, error: str) -> Table | None:
    verdicts = evidence.verdicts[error]
    if verdicts.degradation.empty or not evidence.is_trained:
        return None
    table = verdict_table(verdicts, evidence.untrained)
    if error == "test_error":
        return replace(table, note=TEST_NOTE)
    return table


def verdict_table(verdicts: Verdicts, untrained: Collection[str] = ()) -> Table:
    """Build the table of `analysis.verdict.judge`. `untrained`: networks at chance at every depth."""
    pairs, trends, removals = (rows_of(frame) for frame in verdicts[1:])
    for row in (*pairs, *trends, *removals):
        if {row["network"], row.get("residual")} & set(untrained) and row["n"] >= LEAST_SEEDS:
            row["verdict"] = "at chance"
    rows = [_pair(f"{row['network']}: worse when deeper", row) for row in pairs]
    rows += [_pair(f"{row['residual']}: rises less than {row['network']}", row) for row in removals]
    rows += [_trend(row) for row in trends]
    columns = ["question", "depths", "n", "differences", "mean", "upper", "p", "p_sign_flip"]
    raw = pd.DataFrame(rows, columns=[*columns, "test", "diverged", "verdict"])
    shown = pd.DataFrame(
        {
            "question": raw["question"],
            "depths": raw["depths"],
            "verdict": raw["verdict"],
            "n": raw["n"],
            "mean difference (points)": [signed(x) for x in raw["mean"]],
            "95 % upper bound": [signed(x) for x in raw["upper"]],
            "p": [p_value(x) for x in raw["p"]],
            "p, sign flips": [p_value(x) for x in raw["p_sign_flip"]],
            "each seed's difference": raw["differences"],
            "test": raw["test"],
        }
    )
    points = "point" if verdicts.margin == 1 else "points"
    note = (
        "A difference is the error at the deeper depth minus the error at the shallower depth, seed by seed. "
        "The error of a run is the mean of its last evaluations: at most five, and only from the last "
        "quarter of training. A diverged run counts at chance error. Degradation is present if p <= 0.05 and "
        f"the mean difference is at least {verdicts.margin:g} percentage {points}, the margin of this study. "
        "It is absent if the one-sided 95 % upper bound of the mean is below the margin. Otherwise it is "
        f"inconclusive. Fewer than {LEAST_SEEDS} seeds are always inconclusive and have no p. All tests are "
        "one-sided. p of the paired t test and p of the sign-flip test are Holm-corrected over the pairs of "
        "depths of a network. Each network is judged on its own, so p is not corrected over networks. The t "
        "test and the upper bound assume normal differences. With n seeds, p of the sign-flip test is at "
        "least 1/2^n. Rows with `rises less than` make the same tests on the plain network's error minus "
        "that of its residual twin. The answer at the top of the page is about the widest pair of depths "
        f"with {LEAST_SEEDS} seeds. With fewer than {FEW_SEEDS} seeds, or if a run diverged, Page's trend "
        "test decides it, which needs three depths. Without them, the sign-flip test decides if a run "
        "diverged and there are enough seeds for p <= 0.05. Otherwise the t test decides. A network at "
        "chance at every depth has the verdict `at chance`, because degradation cannot be measured. The same "
        "holds for its twins."
    )
    return Table(note, raw, shown.astype(str))


def _pair(question: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of a pair of depths."""
    numbers = {key: row[key] for key in ("n", "mean", "upper", "diverged", "verdict")}
    return numbers | {
        "question": question,
        "depths": f"{row['shallow']}, {row['deep']}",
        "differences": seed_differences(row),
        "p": row["p_holm"],
        "p_sign_flip": row["p_sign_flip_holm"],
        "test": "paired t",
    }


def _trend(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of a trend over all depths of a network or a pair of twins."""
    numbers = {key: row[key] for key in ("n", "upper", "p", "diverged", "verdict")}
    return numbers | {
        "question": f"{row['residual']}: rises less than {row['network']} over all depths"
        if row["residual"]
        else f"{row['network']}: a rise over all depths",
        "depths": ", ".join(map(str, row["depths"])),
        "differences": seed_differences(row),
        "mean": row["rise"],
        "test": "Page's trend test",
    }


TRAIN, TEST = (
    ReportTable(partial(build, error=key), f"Verdicts on the {name}", "training")
    for key, name in ERRORS.items()
)
