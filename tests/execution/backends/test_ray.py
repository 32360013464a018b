"""Tests of the Ray backend alone. contracts/test_backends.py has the contract of every backend."""

import dataclasses
import io
import itertools
import time
from types import SimpleNamespace

import numpy as np
import pytest

from depthbench import load_results
from depthbench.errors import BadInput
from depthbench.events import Alive, Note, RunEnded, RunStarted, RunWaiting, Silent
from depthbench.execution import ray_cluster as ray_cluster_module
from depthbench.execution import stalls
from depthbench.execution.backends import ray as ray_backend
from depthbench.execution.backends.ray import _in_memory
from depthbench.execution.plan import Plan, make_plan
from depthbench.execution.ray_task import Mailbox
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
def test_a_run_whose_node_dies_waits_and_resumes_on_another_one_and_equals_a_local_run(
    tiny, tmp_path, ray_cluster, trained, monkeypatch
):
    plugin = tmp_path / "held.py"
    plugin.write_text(HELD.format(folder=str(tmp_path / "results")))
    with plugins_forgotten():
        study = tiny(
            recipe={"steps": 400},
            evaluate={"every": 200, "log_every": 10},
            grid={"network": ["held"], "depth": [2], "seed": [0, 1]},
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
        assert load_results(plan.store.path).runs.status.tolist() == ["done"] * 2
        first = plan.todo[0]
        assert display.of(Note)[0].text == "Ray: 2 nodes, 1 run at once"
        of_first = [note.text for note in display.of(Note) if note.run == first]
        assert of_first[0] == (
            "its node died; the run resumes from its last checkpoint, if it has one, when a node is free"
        )
        assert of_first[1].startswith("resuming from step ")
        assert len(of_first) == 2
        kinds = (RunStarted, RunWaiting, RunEnded)
        events = [event for event in display.events if isinstance(event, kinds)]
        assert [(type(event), event.run.seed) for event in events] == [
            (RunStarted, 0),
            (RunStarted, 1),
            (RunWaiting, 0),
            (RunEnded, 1),  # it occupied the only node that was left
            (RunStarted, 0),
            (RunEnded, 0),
        ]
        _, alone = trained(first, folder="alone")
        for name in ("history", "layers", "predictions"):
            assert alone.frame(name).equals(plan.store.run(first.run_id).frame(name))


class Recorded(Silent):
    """A display that keeps the events."""

    def __init__(self):
        self.events = []

    def show(self, event):
        self.events.append(event)

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]


class NodeKiller(Recorded):
    """A display that removes the node of the first run when another node trains the second one."""

    def __init__(self, cluster, folder):
        super().__init__()
        self.cluster, self.folder = cluster, folder

    def show(self, event):
        super().show(event)
        if isinstance(event, RunStarted):
            match len(self.of(RunStarted)):
                case 1:
                    _, self.node = self.cluster.list_all_nodes()
                    self.cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
                case 2:
                    self.remove_node()

    def remove_node(self):
        began = time.monotonic()
        while not any(self.folder.glob("runs/*/checkpoint.pt")):
            assert time.monotonic() - began < 120
            time.sleep(0.01)
        self.cluster.remove_node(self.node, allow_graceful=False)

    def tick(self):
        if self.of(RunWaiting):  # only now, so that the second run cannot end before
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
    """The calls of Ray that a study in progress makes while tasks start and end."""

    exceptions = ray.exceptions

    def __init__(self):
        self.cancelled = []
        self.errors = {}

    def cancel(self, task, force):
        self.cancelled.append((task, force))

    def get(self, answer):
        if isinstance(answer, str) and answer in self.errors:
            raise self.errors[answer]
        return answer


class FakeActor:
    """An object whose methods are called as those of an actor."""

    def __init__(self, actor):
        self.actor = actor

    def __getattr__(self, name):
        return SimpleNamespace(remote=getattr(self.actor, name))


class FakeStudy(ray_backend._StudyInProgress):
    """A study in progress without a cluster. Its tasks do what the test says."""

    def __init__(self, plan):
        self.ray, self.plan, self.display = FakeRay(), plan, Recorded()
        self.signals, self.is_stopping, self.job, self.images = [], False, None, None
        self.tasks, self.numbers, self.training, self.interrupted = {}, itertools.count(), {}, {}
        self.deaths, self.ended = {}, set()
        self.watch = ray_backend.StallWatch(plan.execution.stall_timeout)
        self.mailbox = FakeActor(Mailbox([self._start_of(run) for run in plan.todo]))
        self.task = SimpleNamespace(remote=lambda job, images, number, mailbox: f"task {number}")
        self._submit()

    def begin(self, task):
        """Let a task take a run, and return the run."""
        self.mailbox.actor.take_run(self.tasks[task])
        (taken,) = self.mailbox.actor.take()
        self._see(taken)
        return taken.run

    def fail(self, task, error):
        """Let a task end with an error."""
        self.ray.errors[task] = error
        self._end_task(task)
        self._submit()


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still for the detection of stalls. Set its time with `clock(seconds)`."""
    now = [0.0]
    monkeypatch.setattr(stalls, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return lambda seconds: now.__setitem__(0, seconds)


NODE_DIED = ray.exceptions.NodeDiedError("the node died")


@pytest.fixture
def study(tiny, tmp_path):
    """A study whose two runs have not begun."""
    return FakeStudy(make_plan(tiny(), Execution(tmp_path, backend="ray", stall_timeout=1.0)))


def test_a_run_that_dies_again_and_again_fails(study):
    run, other = study.plan.todo
    for task in ("task 0", "task 2", "task 3"):
        assert study.display.of(RunEnded) == []
        assert study.begin(task) == run
        study._see(Alive(run, 7, 0.1))
        study.fail(task, ray.exceptions.WorkerCrashedError())
    (ended,) = study.display.of(RunEnded)
    assert (ended.run, ended.status) == (run, "failed")
    assert ended.reason == "its process or node died 3 times at step 7"
    assert study.plan.store.run(run.run_id).read().status == "failed"
    study._see(Alive(run, 8, 0.1))  # a late event is ignored
    assert len(study.display.of(Alive)) == 3
    assert study.begin("task 1") == other
    assert list(study.tasks) == ["task 1"]


def test_a_run_that_gets_further_each_time_goes_on(study):
    run, _ = study.plan.todo
    for step in range(1, 20):
        task = list(study.tasks)[-1]
        assert study.begin(task) == run
        study._see(Alive(run, step, 0.1))
        study.fail(task, NODE_DIED)
    assert study.display.of(RunEnded) == []


def test_a_run_that_stalls_on_a_node_fails(study, clock):
    run = study.begin("task 0")
    clock(90)
    study._end_stalled_runs()
    (ended,) = study.display.of(RunEnded)
    assert (ended.status, ended.reason) == ("failed", "its process did not start within 1.5 minutes")
    assert study.ray.cancelled == [("task 0", True)]
    study.fail("task 0", ray.exceptions.WorkerCrashedError())
    assert study.display.of(RunWaiting) == []
    assert study.plan.store.run(run.run_id).read().status == "failed"


@pytest.mark.parametrize("step", [None, 5])
def test_a_run_whose_node_died_is_no_stall_until_it_runs_again(study, clock, step):
    run, other = study.begin("task 0"), study.begin("task 1")
    if step is not None:
        study._see(Alive(run, step, 0.1))
    study.fail("task 0", NODE_DIED)
    assert [event.run for event in study.display.of(RunWaiting)] == [run]
    assert len(study.display.of(Note)) == 1
    clock(10_000)
    study._see(Alive(run, 6, 0.1))  # a late event of the dead process
    study._see(Alive(other, 5000, 0.1))
    clock(10_050)
    study._end_stalled_runs()
    assert study.display.of(RunEnded) == []
    assert study.begin("task 2") == run
    clock(10_111)
    study._see(Alive(other, 6000, 0.1))
    study._end_stalled_runs()
    (ended,) = study.display.of(RunEnded)
    assert (ended.run, ended.reason) == (run, "its process did not start within 1.0 minutes")


def test_a_run_that_no_process_received_is_not_lost(study):
    run, _ = study.plan.todo
    study.mailbox.actor.take_run(study.tasks["task 0"])
    study.fail("task 0", NODE_DIED)
    for event in study.mailbox.actor.take():
        study._see(event)
    assert study.display.events == []
    assert study.begin("task 1") == run


def test_the_next_run_fails_if_a_task_cannot_start(study):
    run, other = study.plan.todo
    study.fail("task 1", ray.exceptions.RuntimeEnvSetupError("no space left"))
    for event in study.mailbox.actor.take():
        study._see(event)
    (ended,) = study.display.of(RunEnded)
    assert (ended.run, ended.status) == (run, "failed")
    assert "no space left" in ended.reason
    assert study.display.of(RunStarted) == []
    assert study.begin("task 0") == other


def test_ctrl_c_does_not_wait_for_a_process_that_has_taken_no_run(study):
    """Such a process can take a minute to start. One that trains saves its run first."""
    study.mailbox.actor.stop = lambda: None
    study.begin("task 0")
    study.signals.append(2)
    study._handle_signals()
    assert study.ray.cancelled == [("task 1", True)]


def test_a_run_that_waits_after_a_death_is_interrupted_by_ctrl_c(study):
    run = study.begin("task 0")
    study.fail("task 0", NODE_DIED)
    study.signals.append(2)
    study.tasks.clear()
    study.ray.kill = lambda actor: None
    study.finish()
    (ended,) = study.display.of(RunEnded)
    assert (ended.run, ended.status) == (run, "interrupted")
