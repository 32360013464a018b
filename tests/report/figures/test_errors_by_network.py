import numpy as np
import pandas as pd
import pytest

from tests.report.conftest import CHANCE
from tests.report.looking import draw, legend, panel


def test_many_networks_of_one_depth_have_a_row_each(partial_results):
    """A diverged, a failed and an interrupted run each have a mark."""
    frame = partial_results.runs
    alone = [frame[frame["network"] == "plain"].assign(network=f"mine-{i}", depth=20 + i) for i in range(5)]
    many = partial_results._replace(runs=pd.concat([frame, *alone], ignore_index=True))
    figure = draw("degradation", many)
    axes = panel(figure, "train error, evaluation mode")
    rows = [label.get_text() for label in axes.get_yticklabels()]
    assert rows[:2] == ["plain, depth 8", "resnet, depth 8"]
    assert rows[-1] == "mine-4, depth 24"
    assert [name for name in rows if name.startswith("mine")] == [
        f"mine-{i}, depth {20 + i}" for i in range(5)
    ]
    row = rows.index("plain, depth 8")
    seeds = [
        line.get_xdata()[0]
        for line in axes.lines
        if line.get_marker() == "o" and abs(line.get_ydata()[0] - row) < 0.3
    ]
    stored = frame[(frame["network"] == "plain") & (frame["depth"] == 8) & (frame["status"] == "done")]
    assert sorted(seeds) == sorted(stored["train_error_eval"])
    stroke = next(x for x in axes.lines if x.get_ydata().tolist() == [row - 0.36, row + 0.36])
    assert stroke.get_xdata()[0] == pytest.approx(np.mean(seeds))
    marks = {line.get_marker(): line.get_xdata()[0] for line in axes.lines if line.get_marker() in set("XP*")}
    assert marks == {"X": CHANCE, "P": 0.985, "*": 0.985}
    assert "diverged, counted at chance error" in legend(figure)
