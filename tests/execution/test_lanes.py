import dataclasses

import pytest

from depthbench.events import Silent
from depthbench.execution.lanes import choose_lanes, fastest
from depthbench.execution.plan import make_plan
from depthbench.execution.settings import Execution
from depthbench.machine.environment import cores_each


class Notes(Silent):
    def __init__(self):
        self.lines = []

    def show(self, event):
        self.lines.append(event.text)


@pytest.mark.parametrize(
    ("rates", "lanes"),
    [
        ({1: 100.0}, 1),
        ({1: 100.0, 2: 150.0, 4: 200.0}, 4),
        ({1: 100.0, 2: 150.0, 4: 152.0}, 2),  # barely faster, while each run ends later
        ({1: 100.0, 2: 90.0, 4: 120.0}, 4),
        ({1: 100.0, 2: 103.0, 4: 99.0}, 1),
    ],
)
def test_more_lanes_are_used_only_if_they_are_faster(rates, lanes):
    assert fastest(rates) == lanes


@pytest.mark.slow
def test_lanes_are_measured_in_a_separate_process(tiny, tmp_path):
    """The test runs on a CPU, where taking turns has no advantage, but the code is the same."""
    study = tiny(recipe={"steps": 3000})
    plan = dataclasses.replace(
        make_plan(study, Execution(tmp_path, device="cpu")), lanes=2, measures_lanes=True, threads=1
    )
    display = Notes()
    chosen = choose_lanes(plan, display)
    assert chosen.lanes == chosen.jobs
    assert chosen.lanes in (1, 2)
    assert chosen.threads == cores_each(chosen.lanes)
    assert chosen.todo == plan.todo
    assert "images/s" in display.lines[-1]


def test_a_short_study_is_not_measured(tiny, tmp_path):
    plan = dataclasses.replace(
        make_plan(tiny(), Execution(tmp_path, device="cpu")), lanes=2, measures_lanes=True
    )
    display = Notes()
    assert choose_lanes(plan, display) is plan
    assert display.lines == []


def test_a_plan_that_cannot_be_measured_does_not_change(tiny, tmp_path):
    plan = make_plan(tiny(recipe={"steps": 3000}), Execution(tmp_path, device="cpu"))
    plan = dataclasses.replace(plan, lanes=2, measures_lanes=True, device="no-such-device")
    display = Notes()
    assert choose_lanes(plan, display) is plan
    assert "exit code 1" in display.lines[-1]
