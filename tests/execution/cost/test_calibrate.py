import dataclasses

import pytest

from depthbench.execution.cost.calibrate import (
    MOST_WORK,
    Team,
    calibrate,
    choose_further,
    extrapolate,
    shallower,
)
from depthbench.execution.cost.estimate import estimate
from depthbench.execution.cost.run_memory import count_run
from depthbench.execution.messages import Ready
from depthbench.execution.plan import make_plan
from depthbench.execution.settings import Execution
from depthbench.training.pace import Pace


def test_two_measured_depths_give_a_line_and_one_a_proportion():
    assert extrapolate(56, {20: 10.0, 44: 22.0}, work=None) == 28.0
    assert extrapolate(20, {20: 10.0, 44: 22.0}, work=None) == 10.0
    assert extrapolate(110, {20: 10.0}, work={20: 40, 110: 240}.__getitem__) == 60.0


def test_noise_never_makes_a_deep_network_free():
    assert extrapolate(1000, {20: 10.0, 50: 9.0}, work=None) > 0


@pytest.mark.parametrize(
    ("a_step", "tried"),
    [
        (0.01, [56, 110, 56, 110]),  # all trials take seconds
        (1.0, [56, 56]),  # all would take a minute, so only a middle one is tried
        (10.0, []),  # a middle one would take too long too
    ],
)
def test_which_depths_are_tried(tiny, a_step, tried):
    study = tiny(grid={"depth": [20, 56, 110]})
    families = {name: [run for run in study.runs() if run.network == name] for name in ("plain", "resnet")}
    measured = {(name, 20): a_step * 12 for name in families}
    assert [run.depth for run in choose_further(families, measured)] == tried


@pytest.mark.parametrize(("as_much_as", "less", "tried"), [(26, 0, None), (14, 0, 14), (8, 1, 8)])
def test_a_shallower_network_is_tried_if_one_is_too_much_work(tiny, tmp_path, as_much_as, less, tried):
    """In the last case even the shallowest network is too much work, but it is tried."""
    plan = make_plan(
        tiny(grid={"network": ["plain"], "depth": [26]}), Execution(tmp_path, device="cpu", jobs=1)
    )
    (run,) = plan.todo
    counted = count_run(run.model_copy(update={"depth": as_much_as}), plan.footprint)
    replacement = shallower(run, plan, counted.multiply_adds * run.recipe.batch_size - less)
    assert (replacement and replacement.depth) == tried


def test_times_of_a_deep_network_are_extrapolated_from_a_shallower_one(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(MOST_WORK, "cpu", 0)
    plan = make_plan(
        tiny(grid={"network": ["plain"], "depth": [26, 32]}), Execution(tmp_path, device="cpu", jobs=1)
    )
    cost = estimate(plan)
    assert [row.measured for row in cost.rows] == [False, False]
    assert 0 < cost.rows[0].seconds < cost.rows[1].seconds


class FakeProcess:
    """A process that answers at once and keeps the messages that it receives."""

    def __init__(self, *args):
        self.sent = []

    def send(self, message):
        self.sent.append(message)

    def receive(self):
        if len(self.sent) == 1:
            return Ready()
        return Pace(build=1, step=0, probed_step=0, evaluation=0)

    def kill(self):
        pass


@pytest.mark.parametrize(("lanes", "processes"), [(4, 1), (1, 4)])
def test_runs_that_take_turns_are_tried_in_one_process(tiny, tmp_path, monkeypatch, lanes, processes):
    monkeypatch.setattr("depthbench.execution.cost.calibrate.Process", FakeProcess)
    plan = dataclasses.replace(make_plan(tiny(), Execution(tmp_path, device="cpu")), jobs=4, lanes=lanes)
    with Team(plan) as team:
        assert team.try_run(plan.todo[0], plan.mode_of(plan.todo[0])) == 1
        assert len(team.processes) == processes
        assert {process.sent[0].lanes for process in team.processes} == {lanes}


def test_a_failed_trial_is_noted(tiny, tmp_path):
    plan = make_plan(tiny(), Execution(tmp_path, device="cpu", jobs=1))
    plan = dataclasses.replace(plan, device="nowhere")
    measured = calibrate(plan)
    assert measured.seconds == {}
    assert measured.notes[0].startswith("some networks could not be measured: RuntimeError")
