import os
from dataclasses import replace

import pytest

from depthbench.errors import BadInput
from depthbench.execution.backends import BACKENDS
from depthbench.execution.backends.entry import BackendEntry
from depthbench.execution.plan import make_plan
from depthbench.execution.settings import Execution
from depthbench.execution.sharing import can_take_turns, choose_device, share_cores
from depthbench.networks import NETWORKS, Family


def test_cores_are_divided_among_the_jobs(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert share_cores("cpu", runs=18, jobs=None) == (8, 1)
    assert share_cores("cpu", runs=2, jobs=None) == (2, 4)
    assert share_cores("cpu", runs=18, jobs=3) == (3, 2)
    assert share_cores("cuda:0", runs=18, jobs=None) == (1, 8)
    assert share_cores("cpu", runs=0, jobs=None) == (1, 8)
    monkeypatch.setenv("OMP_NUM_THREADS", "2,1")  # OpenMP allows a list, one number per nesting level
    assert share_cores("cpu", runs=2, jobs=None) == (2, 2)
    assert share_cores("cpu", runs=18, jobs=None) == (8, 1)


def test_which_runs_can_take_turns(tiny, monkeypatch):
    assert can_take_turns(tiny())
    assert not can_take_turns(tiny(options={"dropout": 0.1}))  # the runs would share a random generator
    stochastic = {"options": {"survival": 0.5}}
    assert not can_take_turns(tiny(**stochastic, grid={"network": ["plain", "resnet"]}))
    assert can_take_turns(tiny(**stochastic, grid={"network": ["plain"]}))  # which has no branch to drop
    fractal = {"network": ["fractalnet"], "depth": [5]}
    assert not can_take_turns(tiny(grid=fractal))  # drop-path is its default
    assert can_take_turns(tiny(grid=fractal, options={"drop_path": 0.0}))
    mixed = {"rounded": {"of": "plain", "recipe": {"precision": "tf32"}}}
    grid = {"network": ["plain", "rounded"]}
    assert not can_take_turns(tiny(variants=mixed, grid=grid))  # tf32 is a setting of the whole process
    assert can_take_turns(tiny(variants=mixed, grid={"network": ["rounded"]}))
    monkeypatch.setitem(NETWORKS, "own", Family(object))
    assert not can_take_turns(tiny(grid={"network": ["plain", "own"]}))


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """Settings for a backend whose runs train on other machines."""
    monkeypatch.setitem(BACKENDS, "cluster", BackendEntry(None, is_elsewhere=True))
    return Execution(tmp_path, backend="cluster")


def test_a_plan_for_other_machines_does_not_depend_on_this_one(tiny, elsewhere, monkeypatch):
    monkeypatch.setattr("depthbench.execution.cost.fit.available", lambda device: 1)  # byte
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0}, raising=False)
    plan = make_plan(tiny(), elsewhere)
    assert (plan.jobs, plan.threads, plan.device, plan.notes) == (2, 1, "cpu", ())
    assert plan.mode_of(plan.todo[0]).is_streamed is None  # the machine that trains decides
    chosen = replace(elsewhere, jobs=1, cpus_per_run=3, gpus_per_run=0.25, recompute=True)
    plan = make_plan(tiny(), chosen)
    assert (plan.jobs, plan.threads, plan.device) == (1, 3, "cuda:0")
    assert plan.recompute == {run.run_id for run in plan.todo}


@pytest.mark.parametrize(
    ("device", "gpus", "chosen"),
    [("auto", None, "cpu"), ("auto", 1.0, "cuda:0"), ("cpu", 1.0, "cpu"), ("cuda", None, "cuda:0")],
)
def test_the_share_of_gpus_decides_the_device_elsewhere(elsewhere, device, gpus, chosen):
    assert choose_device(replace(elsewhere, device=device, gpus_per_run=gpus)) == chosen


@pytest.mark.parametrize("setting", [{"address": "a:1"}, {"cpus_per_run": 2}, {"gpus_per_run": 0.5}])
def test_settings_of_a_cluster_are_refused_on_one_machine(tiny, tmp_path, setting):
    with pytest.raises(BadInput, match="needs a cluster; add --on"):
        make_plan(tiny(), Execution(tmp_path, device="cpu", **setting))


def test_processes_of_torchrun_share_the_cores_of_their_machine(tiny, tmp_path, start_torchrun, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    start_torchrun(size=4, local_size=2)
    monkeypatch.delenv("OMP_NUM_THREADS")
    plan = make_plan(tiny(), Execution(tmp_path, device="cpu"))
    assert plan.backend is BACKENDS["ddp"]
    assert (plan.jobs, plan.lanes, plan.threads) == (1, 1, 4)
    assert plan.notes == ("4 processes train each run together",)
