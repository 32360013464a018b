"""Losses of next-token prediction by network and depth, in nats and bits."""

import pandas as pd

from depthbench.report.entries import ReportTable, Table
from depthbench.report.evidence import Evidence
from depthbench.report.tables.formatting import interval, interval_note, number, without_empty_columns

PLACES = 3


def build(evidence: Evidence) -> Table | None:
    losses = evidence.losses
    if losses.empty:
        return None
    units = [str(predicts).removeprefix("next ").removesuffix("s") for predicts in losses["predicts"]]
    unit = units[0] if len(set(units)) == 1 else "token"
    shown = pd.DataFrame(
        {
            "network": losses["network"],
            "depth": losses["depth"],
            "set": losses["set"],
            "n": losses["n"],
            f"loss, mean (nats per {unit})": [number(x, 1, PLACES) for x in losses["mean"]],
            "95 % interval (nats)": [interval(x, PLACES) for x in losses[["low", "high"]].to_numpy()],
            "range (nats)": [interval(x, PLACES) for x in losses[["min", "max"]].to_numpy()],
            f"mean (bits per {unit})": [number(x, 1, PLACES) for x in losses["bits"]],
        }
    )
    note = (
        f"Mean cross entropy of the next {unit} over n seeds, at the last evaluation, in evaluation mode. "
        "A nat is 1.443 bits, and lower is better. Diverged runs have no loss and are left out."
        f"{interval_note(losses['n'])}"
    )
    return Table(note, losses, without_empty_columns(shown))


TABLE = ReportTable(build, title="Losses in nats and bits", chapter="training")
