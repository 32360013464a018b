"""Tests of the Ray backend alone. contracts/test_backends.py has the contract of every backend."""

import dataclasses
import socket
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from depthbench import load_results
from depthbench.errors import BadInput
from depthbench.events import Alive, Note, RowLogged, RunEnded, RunStarted, Silent
from depthbench.execution.backends import ray as ray_backend
from depthbench.execution.backends.ray import (
    _in_memory,
    _Line,
    _plugin_files,
    _problem_of_node,
    _slots,
    _versions,
)
from depthbench.execution.messages import StartRun
from depthbench.execution.plan import Plan, make_plan
from depthbench.execution.run import execute
from depthbench.execution.settings import Execution
from depthbench.paths import locate
from depthbench.plugins.loading import Plugin
from depthbench.training.mode import TrainingMode
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


def test_a_cluster_that_does_not_answer_is_refused_before_anything_is_written(tiny, tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(BadInput, match=f"--address {address}: no cluster answers there"):
            make_plan(tiny(), Execution(tmp_path, backend="ray", address=address))
    with pytest.raises(BadInput, match="--address here: use HOST:PORT"):
        make_plan(tiny(), Execution(tmp_path, backend="ray", address="here"))
    with pytest.raises(BadInput, match="--address : use HOST:PORT"):
        make_plan(tiny(), Execution(tmp_path, backend="ray", address=""))
    assert list(tmp_path.iterdir()) == []


def test_an_address_in_the_environment_is_named_as_such(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "there")
    with pytest.raises(BadInput, match="RAY_ADDRESS=there: use HOST:PORT"):
        make_plan(tiny(), Execution(tmp_path, backend="ray"))


@pytest.mark.parametrize("address", ["", "local"])
def test_the_environment_can_ask_for_a_cluster_of_this_machine(tiny, tmp_path, monkeypatch, address):
    monkeypatch.setenv("RAY_ADDRESS", address)
    execution = Execution(tmp_path, backend="ray")
    make_plan(tiny(), execution)
    assert ray_backend._address_of(execution) is None


def test_plugins_are_at_the_same_paths_in_each_run_of_a_process_and_leave_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ray_backend._plugin_folder.cache_clear()
    file = Path("mine.py")
    plugins = (
        Plugin(file, {"mine.py": b"NETWORKS = {}"}),
        Plugin(file, {"mine.py": b"", "part/one.py": b"1"}),
    )
    seen = []
    for _ in range(2):
        with _plugin_files(plugins) as paths:
            seen.append([(path, Path(path).read_bytes()) for path in paths])
            assert Path(paths[1]).with_name("part").joinpath("one.py").read_bytes() == b"1"
        assert list(tmp_path.iterdir()) == []
    assert seen[0] == seen[1]
    assert [content for _, content in seen[0]] == [plugin.files["mine.py"] for plugin in plugins]
    ray_backend._plugin_folder.cache_clear()


def test_without_ray_its_installation_is_named(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(ray_backend.sys.modules, "ray", None)
    with pytest.raises(BadInput, match=r"--on ray needs Ray: pip install 'depthbench\[ray\]'"):
        make_plan(tiny(), Execution(tmp_path, backend="ray"))


def test_a_cluster_that_cannot_be_used_is_left(tiny, tmp_path, monkeypatch):
    def refuse(plan, display, *, is_ours):
        raise BadInput("a node has no disk")

    left = []
    monkeypatch.setattr(ray_backend, "_connect", lambda plan: False)
    monkeypatch.setattr(ray_backend, "_with_capacity", refuse)
    monkeypatch.setattr(ray_backend, "_disconnect", lambda: left.append(True))
    with pytest.raises(BadInput, match="no disk"):
        ray_backend.prepare(make_plan(tiny(), Execution(tmp_path)), Silent())
    assert left == [True]


def test_a_task_that_reads_images_is_alive(tiny, tmp_path, monkeypatch):
    (run, *_) = tiny().runs()
    sent = threading.Event()
    monkeypatch.setattr(ray_backend, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(ray, "get", lambda answer: answer)
    mailbox = SimpleNamespace(
        put=SimpleNamespace(remote=lambda event: isinstance(event, Alive) and sent.set()),
        should_stop=SimpleNamespace(remote=lambda: False),
    )
    line = _Line(StartRun(run, tmp_path, TrainingMode()), mailbox)
    assert not sent.wait(0.1)
    line.is_reading = True
    assert sent.wait(10)
    line.has_ended.set()


def test_what_a_node_lacks_is_named(tmp_path):
    file = tmp_path / "study.toml"
    assert _problem_of_node(file, _versions()).startswith(f"does not see {tmp_path}; give --results")
    file.touch()
    assert _problem_of_node(file, _versions()) is None
    problem = _problem_of_node(file, _versions() | {"torch": "1.0"})
    assert problem == f"has torch {_versions()['torch']}, not 1.0; install the same version"


def test_a_node_that_cannot_read_the_results_at_a_url_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    url = locate(f"file://{tmp_path}/results/study.toml")
    assert _problem_of_node(url, _versions()) == f"cannot read the results: {url}: there is no such file"
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "study.toml").touch()
    assert _problem_of_node(url, _versions()) is None


@pytest.mark.parametrize(
    ("resources", "threads", "gpus", "slots"),
    [
        ({"CPU": 8.0}, 1, None, 8),
        ({"CPU": 8.0}, 3, None, 2),
        ({"CPU": 8.0}, 1, 1.0, 0),
        ({"CPU": 8.0, "GPU": 2.0}, 1, 0.25, 8),
        ({"CPU": 8.0, "GPU": 1.0}, 1, 0.25, 4),
        ({"CPU": 8.0, "GPU": 1.0}, 1, 0.4, 2),  # a GPU is not split between runs that need more than is left
        ({"CPU": 8.0, "GPU": 4.0}, 1, 2.0, 2),
    ],
)
def test_how_many_runs_a_node_trains_at_once(tiny, tmp_path, resources, threads, gpus, slots):
    execution = Execution(tmp_path, backend="ray", cpus_per_run=threads, gpus_per_run=gpus)
    assert _slots(resources, make_plan(tiny(), execution)) == slots


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
