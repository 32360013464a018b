"""Contract of every backend (execution/backends/backend.py)."""

import os
import re
import signal

import pytest

from depthbench import load_results
from depthbench.errors import Interrupted
from depthbench.events import RowLogged, RunEnded, RunStarted, Silent, Stopping, StudyStarted
from depthbench.execution.backends import BACKENDS
from depthbench.execution.plan import make_plan
from depthbench.execution.run import execute
from depthbench.execution.settings import Execution
from tests.failing_networks import WHERE

SETTINGS = {"slurm": {"slurm": (("cluster", "local"),)}}
"""Settings with which a backend can be tested on one machine."""
# a backend for torchrun needs its processes (tests/execution/test_ranks.py)
HERE = [name for name, entry in BACKENDS.items() if not entry.is_together]

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("backend", HERE)]


@pytest.fixture(autouse=True)
def connection(backend, request, monkeypatch):
    """Connect to what a backend needs."""
    if backend == "ray":
        request.getfixturevalue("ray_connection")
        monkeypatch.setattr("depthbench.execution.backends.ray.DEATHS", 1)
    if backend == "slurm":
        request.getfixturevalue("forked_jobs")


class Recorder(Silent):
    """A display that keeps all events, and presses Ctrl-C once when a run has logged a step."""

    def __init__(self, stop_at=None):
        self.events, self.stop_at = [], stop_at
        self.is_entered = False

    def __enter__(self):
        assert not self.is_entered
        self.is_entered = True
        return self

    def __exit__(self, *error):
        self.is_entered = False

    def show(self, event):
        assert self.is_entered
        self.events.append(event)
        if isinstance(event, RowLogged) and event.step == self.stop_at:
            self.stop_at = None
            os.kill(os.getpid(), signal.SIGINT)

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]


def plan_of(study, results, backend):
    settings = SETTINGS.get(backend, {})
    return make_plan(study, Execution(results, device="cpu", jobs=1, backend=backend, **settings))


def test_it_documents_itself(backend):
    assert BACKENDS[backend].about
    assert callable(BACKENDS[backend].load())


def test_a_study_is_trained_once(backend, tiny, tmp_path):
    plan = plan_of(tiny(), tmp_path, backend)
    display = Recorder()
    execute(plan, display)
    runs = load_results(plan.store.path).runs
    assert runs.status.tolist() == ["done", "done"]
    assert display.of(StudyStarted) == [StudyStarted(plan.todo, jobs=1, lanes=1, threads=plan.threads)]
    for run in plan.todo:
        of_run = [event for event in display.events if getattr(event, "run", None) == run]
        assert isinstance(of_run[0], RunStarted)
        assert of_run[-1].record == plan.store.run(run.run_id).read()
        assert [event.step for event in of_run if isinstance(event, RowLogged)] == [4, 6, 8, 12]
    assert not list(plan.store.path.glob("runs/*/checkpoint*.pt"))

    again = plan_of(tiny(), tmp_path, backend)
    assert again.todo == ()
    assert {run.run_id for run in again.finished} == {run.run_id for run in plan.todo}
    files = {file: file.stat().st_mtime_ns for file in plan.store.path.glob("runs/*/*")}
    execute(again)
    assert {file: file.stat().st_mtime_ns for file in plan.store.path.glob("runs/*/*")} == files


def test_an_interrupted_study_resumes(backend, tiny, tmp_path):
    study = tiny(recipe={"steps": 400}, evaluate={"every": 200, "log_every": 10})
    display = Recorder(stop_at=20)
    with pytest.raises(Interrupted):
        execute(plan_of(study, tmp_path, backend), display)
    assert len(display.of(Stopping)) == 1
    assert [event.status for event in display.of(RunEnded)] == ["interrupted"]

    plan, resumed = plan_of(study, tmp_path, backend), Recorder()
    execute(plan, resumed)
    assert [event.status for event in resumed.of(RunEnded)] == ["done", "done"]
    assert max(event.first_step for event in resumed.of(RowLogged)) >= 20
    for run in plan.todo:
        steps = plan.store.run(run.run_id).frame("history").step
        assert steps.tolist() == list(range(10, 401, 10))


def test_a_failed_run_stops_no_other_and_is_recorded(backend, tiny, tmp_path, failing_networks):
    grid = {"network": ["raises", "dies", "small"], "depth": [1]}
    study = tiny(grid=grid, options={"width": None}, plugins=[failing_networks])
    plan, display = plan_of(study, tmp_path, backend), Recorder()
    execute(plan, display)
    runs = load_results(plan.store.path).runs.set_index("network")
    assert runs.status.to_dict() == {"dies": "failed", "raises": "failed", "small": "done"}
    assert runs.reason["raises"] == f"RuntimeError: wrong shape {WHERE}"
    assert re.search(r"process.* (killed|died)", runs.reason["dies"])
    shown = {event.run.network: (event.status, event.reason) for event in display.of(RunEnded)}
    assert shown["raises"] == ("failed", f"RuntimeError: wrong shape {WHERE}")
    assert shown["dies"][0] == "failed"

    again = plan_of(study, tmp_path, backend)
    assert [run.network for run in again.finished] == ["small"]
