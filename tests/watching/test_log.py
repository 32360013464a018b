import math

import numpy as np
import pytest
import torch

from depthbench.errors import BadInput
from depthbench.training.records import Records
from depthbench.watching.log import Log


@pytest.fixture
def log():
    return Log(Records([], []), torch.device("cpu"), every=3)


def test_a_row_has_the_mean_of_losses_and_the_last_of_other_values(log):
    for step in range(1, 7):
        log.add(step, {"loss": torch.tensor(float(step)), "train_error": 10.0 * step, "lr": 1 / step})
    log.flush()
    rows = log.records.fetch()
    assert [(row["step"], row["loss"], row["train_error"], row["lr"]) for row in rows] == [
        (3, 2.0, 20.0, 1 / 3),
        (6, 5.0, 50.0, 1 / 6),
    ]
    assert math.isnan(rows[0]["test_error"])
    assert not log.records.has_diverged


def test_an_evaluation_ends_a_row(log):
    log.add(1, {"loss": 1.0})
    log.add(1, {"test_error": torch.tensor([50.0])})
    log.flush()
    (row,) = log.records.fetch()
    assert (row["step"], row["loss"], row["test_error"]) == (1, 1.0, 50.0)


def test_tensors_are_copied_and_nothing_waits_for_them(log):
    loss = torch.tensor(1.0, requires_grad=True)
    log.add(1, {"loss": loss})
    with torch.no_grad():
        loss += 1
    log.end_row(1)
    assert log.records.rows == []
    assert log.records.fetch()[0]["loss"] == 1


def test_a_value_that_is_missing_is_no_divergence(log):
    log.add(3, {"train_error": 50.0})
    log.flush()
    assert math.isnan(log.records.fetch()[0]["loss"])
    assert not log.records.has_diverged


def test_the_default_interval_grows_with_the_run():
    records = Records([], [])
    log = Log(records, torch.device("cpu"))
    for step in range(1, 10_001):
        log.add(step, {"loss": 0.0})
    log.flush()
    steps = [row["step"] for row in records.fetch()]
    assert steps[:3] == [10, 20, 30]
    assert steps[-1] - steps[-2] == 19
    assert len(steps) < 900


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"los": 1.0}, r"log\(los=...\): did you mean 'loss'\?"),
        ({"loss": torch.ones(2)}, r"is a tensor of shape 2; pass one number"),
        ({"loss": "high"}, r"log\(loss='high'\): should be a number"),
        ({"loss": True}, r"should be a number"),
        ({"loss": np.ones(2)}, r"is an array of shape 2; pass one number"),
        ({"loss": np.array(["high"])}, r"log\(loss='high'\): should be a number"),
        ({"loss": np.array(True)}, r"should be a number"),
        ({"loss": torch.tensor(True)}, r"is a tensor of torch.bool; pass a real number"),
        ({"loss": torch.tensor(1j)}, r"is a tensor of torch.complex64; pass a real number"),
        ({"loss": np.complex64(1)}, r"should be a number"),
        ({"loss": np.array([1j])}, r"log\(loss=1j\): should be a number"),
        ({"loss": 10**400}, r"log\(loss=...\): is larger than any float"),
        ({"test_error": np.array([101.0])}, r"should be in percent, 0 to 100"),
        ({"test_error": 101.0}, r"should be in percent, 0 to 100"),
        ({"train_error_eval": -1}, r"should be in percent, 0 to 100"),
        ({"val_error": torch.tensor(200.0)}, r"log\(val_error=200\): should be in percent, 0 to 100"),
    ],
)
def test_impossible_values_are_refused(log, values, message):
    with pytest.raises(BadInput, match=message):
        log.add(1, values)


@pytest.mark.parametrize("value", [2, 2.0, np.float16(2), np.int64(2), np.array([2.0]), torch.tensor([[2]])])
def test_single_numbers_of_every_kind_are_logged(log, value):
    log.add(3, {"loss": value})
    log.flush()
    assert log.records.fetch()[0]["loss"] == 2


def test_values_on_a_device_are_checked_when_they_are_fetched(log, monkeypatch):
    on_device = torch.tensor(150.0)
    monkeypatch.setattr("depthbench.watching.log._checked", lambda name, value: value)  # as for a GPU
    log.add(1, {"loss": torch.tensor(2.0), "test_error": on_device})
    log.add(2, {"test_error": torch.tensor(100.0001)})  # a mean that was rounded
    log.flush()
    rows = log.records.fetch()
    assert math.isnan(rows[0]["test_error"])
    assert (rows[0]["loss"], rows[1]["test_error"]) == (2, pytest.approx(100))
    assert str(log.problem) == "watch: log(test_error=150) at step 1: should be in percent, 0 to 100"


def test_logging_does_not_wait_for_the_device():
    device = torch.device("meta")  # tensors without numbers: reading one raises
    log = Log(Records([], []), device, every=3)
    for step in range(1, 10):
        value = torch.zeros((), device=device)
        log.add(step, {"loss": value, "train_error": value, "test_error": value.half(), "lr": 0.1})
    with pytest.raises(NotImplementedError, match=r"meta"):
        log.records.fetch()


def test_tensors_and_numbers_can_be_mixed(log):
    for step, value in enumerate((1.0, torch.tensor(2.0), torch.tensor(3, dtype=torch.int64)), 1):
        log.add(step, {"loss": value})
    log.flush()
    assert log.records.fetch()[0]["loss"] == 2


def test_a_row_has_all_that_was_logged_at_its_step_in_any_number_of_calls(log):
    for step in range(1, 7):
        log.add(step, {"loss": float(step)})
        log.add(step, {"train_error": 10.0 * step})
        log.add(step, {"loss": float(step) + 2})
        log.add(step, {})
    log.flush()
    rows = log.records.fetch()
    assert [(row["step"], row["loss"], row["train_error"]) for row in rows] == [
        (3, 3.0, 20.0),
        (6, 6.0, 50.0),
    ]
