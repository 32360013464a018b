import pytest
import torch
from torch import nn

from depthbench.adapters.steps import Steps
from depthbench.store.results import load_results


@pytest.fixture
def steps(tmp_path):
    steps = Steps(tmp_path / "mine", name="net", every=1)
    steps.begin(nn.Linear(2, 2), 0, steps=3)
    return steps


def make_step(steps):
    for _ in range(2):  # batches, whose gradients are accumulated
        steps.begin_step()
        steps.watch.subject.network(torch.ones(1, 2)).sum().backward()
    steps.end_step()


def test_options_of_the_caller_come_before_those_of_the_loop(tmp_path):
    steps = Steps(tmp_path / "mine", name="net", steps=7)
    steps.begin(nn.Linear(2, 2), 4, steps=3, name="other")
    assert (steps.watch.run.steps, steps.watch.run.network, steps.watch.steps_made) == (7, "net", 4)
    steps.end()


def test_a_step_lasts_until_it_is_ended(steps, tmp_path):
    steps.log(loss=1.0)  # before the first step
    make_step(steps)
    make_step(steps)
    steps.log(loss=2.0)
    steps.end()
    runs, history, layers = load_results(tmp_path / "mine")
    assert (runs.iloc[0]["status"], runs.iloc[0]["step"]) == ("done", 2)
    assert history["loss"].tolist() == [2.0]
    assert layers["step"].tolist() == [0, 1]


def test_a_failure_ends_the_step_and_the_run(steps, tmp_path):
    make_step(steps)
    steps.begin_step()
    steps.fail(ValueError("no luck"))
    row = load_results(tmp_path / "mine").runs.iloc[0]
    assert (row["status"], row["reason"], row["step"]) == ("failed", "ValueError: no luck", 1)
    assert not steps.watch.subject.network._forward_hooks


def test_training_that_resumes_a_checkpoint_keeps_the_rows_up_to_there(steps, tmp_path):
    for _ in range(2):
        make_step(steps)
    steps.fail(KeyboardInterrupt())
    steps.begin(nn.Linear(2, 2), 1, steps=3)
    make_step(steps)
    steps.end()
    runs, _, layers = load_results(tmp_path / "mine")
    assert (runs.iloc[0]["status"], runs.iloc[0]["step"]) == ("done", 2)
    assert layers["step"].tolist() == [0, 1]
    assert steps.watch.run.steps == 3


def test_nothing_happens_before_training(tmp_path):
    steps = Steps(tmp_path / "mine")
    steps.begin_step()
    steps.log(loss=1.0)
    steps.end()
    steps.fail(ValueError())
    assert not (tmp_path / "mine").exists()
