import math

import pytest
import torch
from torch import nn

from depthbench.networks.layers import weighted_layers
from depthbench.training.records import ERROR_COLUMNS, Records

LAYERS = weighted_layers(nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2)))


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
