import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from depthbench.networks.layers import weighted_layers
from depthbench.probes.rows import Row, rows_of
from depthbench.training.records import ERROR_COLUMNS, Records

LAYERS = rows_of(weighted_layers(nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))))


def row(step, test_error=math.nan):
    errors = dict.fromkeys(list(ERROR_COLUMNS.values()), math.nan) | {"test_error": test_error}
    return {"step": step, "lr": 0.1, "loss": math.nan, "train_error": math.nan, **errors}


def sums(loss, wrong, images=10):
    return torch.tensor([loss * images, wrong, images], dtype=torch.float64)


@pytest.fixture
def records():
    return Records(LAYERS, ["weight_norm"])


def test_rows_are_known_when_they_are_fetched(records):
    records.add(row(4), sums(2.0, 5))
    records.add(row(8, test_error=30.0), sums(1.0, 1))
    assert records.rows == []
    assert records.last_step == 8
    assert records.tracker.best is None
    fetched = records.fetch()
    assert [(r["step"], r["loss"], r["train_error"]) for r in fetched] == [(4, 2.0, 50.0), (8, 1.0, 10.0)]
    assert records.rows == fetched
    assert records.tracker.best == (30.0, 8)
    assert records.fetch() == []
    records.add(row(12), sums(0.5, 0))
    assert [r["step"] for r in records.fetch()] == [12]
    assert len(records.rows) == 3


def test_rows_after_a_loss_that_is_not_finite_are_dropped(records):
    for step in (0, 3, 4, 9):
        records.add_probed(step, torch.full((2, 1), float(step)))
    records.add(row(4), sums(2.0, 5))
    records.add(row(8, test_error=70.0), sums(math.inf, 9))
    records.add(row(12, test_error=1.0), sums(0.1, 0))
    assert [r["step"] for r in records.fetch()] == [4, 8]
    assert math.isnan(records.rows[-1]["test_error"])  # measured with weights that are not finite
    assert records.tracker.best is None
    assert records.layers().step.tolist() == [0, 0, 3, 3, 4, 4]  # the run ends before step 8


def test_layers_have_one_row_per_probed_step_and_layer(records):
    assert records.layers().empty
    assert list(records.layers()) == ["step", "layer", "name", "stage", "weight_norm"]
    records.add_probed(5, torch.tensor([[1.0], [2.0]]))
    table = records.layers()
    assert table.values.tolist() == [[5, 1, "0", "1", 1.0], [5, 2, "1", "fc", 2.0]]


def test_a_restored_state_has_all_rows(records):
    records.add(row(4, test_error=20.0), sums(2.0, 5))
    records.add_probed(0, torch.ones(2, 1))
    records.fetch()
    again = Records(LAYERS, ["weight_norm"])
    again.restore(records.state(), torch.device("cpu"))
    assert again.rows == records.rows
    assert again.last_step == 4
    assert again.layers().equals(records.layers())
    assert again.tracker.state() == records.tracker.state()


def test_rows_say_what_was_not_measured_and_what_they_are_of():
    rows = [Row(1, "a", "1"), Row(2, "b", "fc")]
    rows += [
        Row(layer, f"{name}[{use}]", "1", use=use)
        for layer, name in ((1, "a"), (2, "b"))
        for use in (0, 1, 2)
    ]
    rows += [Row(1, "gate", "", ("size",))]
    records = Records(rows, ["norm", "size"])
    measured = np.array(
        [[True, False]] * 4 + [[False, False]] + [[True, False]] + [[False, False]] * 2 + [[False, True]]
    )
    values = torch.arange(18.0).reshape(9, 2).masked_fill(~torch.from_numpy(measured), math.nan)
    records.add_probed(3, values, measured)
    table = records.layers()
    assert table["name"].tolist() == ["a", "b", "a[0]", "a[1]", "gate"]  # a was used twice and b once
    assert table["layer"].tolist() == [1, 2, 1, 1, 1]
    assert table["not_measured"].tolist() == ["size"] * 4 + ["norm"]
    assert table["selected_by"].tolist() == [""] * 4 + ["size"]
    assert table["use"].tolist() == [pd.NA, pd.NA, 0, 1, pd.NA]
    assert table["norm"].tolist() == pytest.approx([0, 2, 4, 6, math.nan], nan_ok=True)
    again = Records(rows, ["norm", "size"])
    again.restore(records.state(), torch.device("cpu"))
    assert again.layers().equals(table)


def test_a_state_with_other_layers_is_refused(records):
    records.add_probed(0, torch.ones(2, 1))
    state = records.state()
    with pytest.raises(ValueError, match=r"values of the shape \(2, 1\), not \(4, 1\)"):
        Records(
            rows_of(weighted_layers(nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))), uses=1), ["weight_norm"]
        ).restore(state, torch.device("cpu"))
