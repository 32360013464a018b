"""Tests of the Ray backend alone. contracts/test_backends.py has the contract of every backend."""

import dataclasses
import io
import time

import numpy as np
import pytest

from depthbench import load_results
from depthbench.errors import BadInput
from depthbench.events import Alive, Note, RowLogged, RunEnded, RunStarted, Silent
from depthbench.execution import ray_cluster as ray_cluster_module
from depthbench.execution.backends import ray as ray_backend
from depthbench.execution.backends.ray import _in_memory
from depthbench.execution.plan import Plan, make_plan
from depthbench.execution.run import execute
from depthbench.execution.settings import Execution
from tests.conftest import plugins_forgotten

ray = pytest.importorskip("ray")


HELD = """
import time
from pathlib import Path

from torch import nn

FOLDER = Path({folder!r})


class Held(nn.Sequential):
    'Once a checkpoint is stored, wait until the node of the first attempt has been removed.'

    def __init__(self, depth, in_channels, num_classes):
        super().__init__(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, num_classes))

    def forward(self, x):
        while any(FOLDER.glob("*/runs/*/checkpoint.pt")) and not (FOLDER / "removed").exists():
            time.sleep(0.01)
        return super().forward(x)


NETWORKS = {{"held": Held}}
"""


@pytest.mark.slow
def test_a_run_whose_node_dies_resumes_on_another_one_and_equals_a_local_run(
    tiny, tmp_path, ray_cluster, trained, monkeypatch
):
    plugin = tmp_path / "held.py"
    plugin.write_text(HELD.format(folder=str(tmp_path / "results")))
    with plugins_forgotten():
        study = tiny(
            recipe={"steps": 400},
            evaluate={"every": 200, "log_every": 10},
            grid={"network": ["held"], "depth": [2]},
            options={"width": None},
            plugins=[str(plugin)],
        )
        mode_of = Plan.mode_of
        monkeypatch.setattr(
            Plan, "mode_of", lambda plan, run: dataclasses.replace(mode_of(plan, run), checkpoint_seconds=0.1)
        )
        execution = Execution(tmp_path / "results", backend="ray", address=ray_cluster.address)
        plan = make_plan(study, execution)
        display = NodeKiller(ray_cluster, plan.store.path)
        execute(plan, display)
        assert load_results(plan.store.path).runs.status.tolist() == ["done"]
        notes = [note.text for note in display.of(Note)]
        assert notes[0] == "Ray: 2 nodes, 1 run at once"
        assert "its process or node died; the run starts again" in notes
        assert len(display.of(RunStarted)) == 2
        assert display.of(RowLogged)[-1].first_step > 0  # from a checkpoint
        (run,) = study.runs()
        _, alone = trained(run, folder="alone")
        for name in ("history", "layers", "predictions"):
            assert alone.frame(name).equals(plan.store.run(run.run_id).frame(name))


class Recorded(Silent):
    """A display that keeps the events."""

    def __init__(self):
        self.events = []

    def show(self, event):
        self.events.append(event)

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]


class NodeKiller(Recorded):
    """A display that replaces the node that trains when a checkpoint is stored."""

    def __init__(self, cluster, folder):
        super().__init__()
        self.cluster, self.folder = cluster, folder

    def show(self, event):
        super().show(event)
        if isinstance(event, RunStarted) and len(self.of(RunStarted)) == 1:
            self.replace_node()

    def replace_node(self):
        began = time.monotonic()
        while not any(self.folder.glob("runs/*/checkpoint.pt")):
            assert time.monotonic() - began < 120
            time.sleep(0.01)
        _, node = self.cluster.list_all_nodes()
        self.cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
        self.cluster.remove_node(node, allow_graceful=False)
        (self.folder.parent / "removed").touch()


class FakeCluster:
    """The calls of Ray that connect to a cluster of one node with one core."""

    def __init__(self, monkeypatch, error=None):
        self.calls, self.error, self.connected = [], error, False
        monkeypatch.setattr(ray, "init", self.init)
        monkeypatch.setattr(ray, "shutdown", self.shutdown)
        monkeypatch.setattr(ray, "is_initialized", lambda: self.connected)
        monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": 1.0}}])
        monkeypatch.setattr(ray_cluster_module, "_Janitor", lambda folder: io.StringIO())

    def init(self, **settings):
        self.calls.append(settings["address"])
        if self.error:
            raise self.error
        self.connected = True

    def shutdown(self):
        self.calls.append("left")
        self.connected = False


def test_a_cluster_that_cannot_be_found_is_refused_before_anything_is_written(tiny, tmp_path, monkeypatch):
    FakeCluster(monkeypatch, ConnectionError("Could not find any running Ray instance."))
    plan = make_plan(tiny(), Execution(tmp_path, backend="ray", address="auto"))
    with pytest.raises(BadInput, match="Ray cannot connect to auto: ConnectionError: Could not find"):
        execute(plan)
    assert list(tmp_path.iterdir()) == []


def test_a_machine_with_too_few_cores_is_refused_before_anything_is_written(tiny, tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    cluster = FakeCluster(monkeypatch)
    with pytest.raises(
        BadInput, match=r"each run needs 2 cores \(--cpus-per-run\), but this machine has fewer"
    ):
        execute(make_plan(tiny(), Execution(tmp_path, backend="ray", cpus_per_run=2)))
    assert list(tmp_path.iterdir()) == []
    assert cluster.calls == ["local", "left"]


def test_a_connection_within_another_is_the_same_one(tiny, tmp_path, monkeypatch):
    cluster = FakeCluster(monkeypatch)
    plan = make_plan(tiny(), Execution(tmp_path, backend="ray", address="auto"))
    with plan.backend.connected(plan):
        with plan.backend.connected(plan):
            pass
        assert cluster.calls == ["auto"]
    assert cluster.calls == ["auto", "left"]


def test_a_finished_study_needs_no_cluster(tiny, tmp_path, monkeypatch):
    cluster = FakeCluster(monkeypatch)
    plan = make_plan(tiny(), Execution(tmp_path, backend="ray", address="auto"))
    execute(dataclasses.replace(plan, todo=()))
    assert cluster.calls == []


def test_other_nodes_receive_the_images_of_a_file_as_an_array(tiny, tmp_path):
    plan = make_plan(tiny(), Execution(tmp_path, backend="ray"))
    path = tmp_path / "images"
    np.asarray(plan.data.train_x).tofile(path)
    mapped = ray_backend.Mapped(np.memmap(path, np.uint8, "r", shape=plan.data.train_x.shape))
    images = _in_memory(dataclasses.replace(plan.data, train_x=mapped))
    assert isinstance(images.train_x, np.ndarray)
    assert images.content_hash() == plan.data_hash


class FakeRay:
    """The calls of Ray that a study in progress makes to give up a task."""

    def __init__(self):
        self.cancelled = []

    def cancel(self, task, force):
        self.cancelled.append((task, force))


@pytest.fixture
def in_progress(tiny, tmp_path, monkeypatch):
    """A study whose two runs are tasks, without a cluster."""
    plan = make_plan(tiny(), Execution(tmp_path, backend="ray"))
    study = object.__new__(ray_backend._StudyInProgress)
    study.ray, study.plan, study.display, study.is_stopping = FakeRay(), plan, Recorded(), False
    study.tasks = {"a": plan.todo[0], "b": plan.todo[1]}
    study.deaths, study.ended, study.watch = {}, set(), ray_backend.StallWatch()
    study.display.show = study.display.events.append
    return study


def test_a_run_that_dies_again_and_again_fails(in_progress):
    run, other = in_progress.plan.todo
    for _ in range(ray_backend.DEATHS):
        in_progress._see(RunStarted(run))
        in_progress._see(Alive(run, 7, 0.1))
    assert in_progress.display.of(RunEnded) == []
    in_progress._see(RunStarted(run))
    in_progress._see(RunStarted(other))
    (ended,) = in_progress.display.of(RunEnded)
    assert (ended.run, ended.status) == (run, "failed")
    assert ended.reason == "its process or node died 3 times at step 7"
    assert in_progress.ray.cancelled == [("a", True)]
    assert in_progress.plan.store.run(run.run_id).read().status == "failed"
    in_progress._see(Alive(run, 8, 0.1))  # a late event is ignored
    assert len(in_progress.display.of(Alive)) == 3


def test_a_run_that_gets_further_each_time_goes_on(in_progress):
    run, _ = in_progress.plan.todo
    for step in range(1, 20):
        in_progress._see(RunStarted(run))
        in_progress._see(Alive(run, step, 0.1))
    assert in_progress.display.of(RunEnded) == []


def test_a_run_that_stalls_on_a_node_fails(in_progress, monkeypatch):
    run, _ = in_progress.plan.todo
    in_progress._see(RunStarted(run))
    in_progress.watch.seen[run.run_id].at -= 1000
    in_progress._end_stalled_runs()
    (ended,) = in_progress.display.of(RunEnded)
    assert (ended.status, ended.reason) == ("failed", "no progress since step 0 for 16.7 minutes")
    assert in_progress.ray.cancelled == [("a", True)]
