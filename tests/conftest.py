"""Fixtures for all tests: a study that is small enough to train in a test, and a trained study to read."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # processes that tests start share the cores with other tests
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - so that tasks do not wait for other tests

import gc
import math
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import filelock
import hypothesis
import pytest
import torch
from typer.testing import CliRunner

from depthbench.cli.app import app
from depthbench.data.images import with_validation
from depthbench.data.load import load_images
from depthbench.errors import PLUGIN_PREFIX
from depthbench.plugins import installed, loading, neighbours
from depthbench.plugins.lists import LISTS
from depthbench.plugins.loading import load_plugin
from depthbench.store.run_store import RunStore
from depthbench.study.file import load_study
from depthbench.training.loop import finish, train
from depthbench.training.mode import TrainingMode
from tests.processes import Forked, start_forked_job

hypothesis.settings.register_profile("short", deadline=None, derandomize=True, database=None)
hypothesis.settings.register_profile("long", deadline=None, print_blob=True)
hypothesis.settings.load_profile("short")  # `--hypothesis-profile` replaces it

torch.set_num_threads(1)  # the bit-for-bit tests compare runs of one thread

CPU = TrainingMode()  # eager steps, images in memory

TINY = {
    "name": "tiny",
    "data": {"name": "digits"},
    "options": {"width": 4},
    "recipe": {"steps": 12, "batch_size": 16, "lr": 0.05, "warmup": "none", "pad": 1, "flip": False},
    "evaluate": {"every": 6, "log_every": 4, "train_size": None},
    "grid": {"network": ["plain", "resnet"], "depth": [8], "seed": [0]},
}


SMALL = ["--set", "width=4", "--set", "evaluate.every=5", "--batch-size", "16", "--device", "cpu"]
"""Flags of `depthbench run` for a study that takes seconds."""

SLOW_FIXTURES = {"trained", "trained_study", "browser", "written"}


def pytest_collection_modifyitems(items):
    """Skip tests marked `cuda` without a CUDA device, and mark tests that train or open a browser as slow.

    Files with slow tests come first, so that no process has one left when the others are done."""
    for item in items:
        if "cuda" in item.keywords and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
        if SLOW_FIXTURES & set(item.fixturenames):
            item.add_marker(pytest.mark.slow)
    slow = {item.path for item in items if "slow" in item.keywords}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True, scope="module")
def fast_collections():
    """Exempt what exists so far from garbage collection. Every run starts with a collection.

    Looking at the objects of torch and pytest takes longer than a tiny run."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def fast_processes(request, monkeypatch):
    """Fork the processes that train from a server that has imported torch, unless `real_processes` is set.

    An import takes longer than a tiny study."""
    if "real_processes" not in request.keywords:
        monkeypatch.setattr("depthbench.execution.process.Popen", Forked)


@pytest.fixture
def forked_jobs(monkeypatch):
    """Fork the jobs of submitit's local executor, whose processes take seconds to start."""
    pytest.importorskip("submitit")
    monkeypatch.setattr("submitit.local.local.start_controller", start_forked_job)


@pytest.fixture
def start_torchrun(monkeypatch):
    """Return a function that sets the variables of rank 0 of torchrun."""

    def start(size, local_size=None):
        sizes = {"WORLD_SIZE": size, "LOCAL_WORLD_SIZE": local_size or size}
        for name, value in {"TORCHELASTIC_RUN_ID": "test", "RANK": 0, "LOCAL_RANK": 0, **sizes}.items():
            monkeypatch.setenv(name, str(value))

    return start


@pytest.fixture(scope="module")
def ray_cluster():
    """A Ray cluster of two nodes. The first one controls it and trains nothing, the second has one core."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    memory = {"object_store_memory": 100 << 20}
    with (
        tempfile.TemporaryDirectory(prefix="ray-") as folder,  # a short path, as sockets need
        pytest.MonkeyPatch.context() as environment,
    ):
        # Ray notes its newest cluster in this folder, which it does not make, and which users share
        environment.setenv("RAY_TMPDIR", folder)
        Path(folder, "ray").mkdir()
        head = {"num_cpus": 0, "include_dashboard": False, "temp_dir": folder, **memory}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        cluster.add_node(num_cpus=1, **memory)
        yield cluster
        cluster.shutdown()


@pytest.fixture(scope="module")
def ray_connection(ray_cluster):
    """A connection to the cluster for all tests of a module, so that its processes import torch once."""
    import ray

    ray.init(ray_cluster.address, log_to_driver=False, logging_level="CRITICAL")
    yield
    ray.shutdown()


@contextmanager
def plugins_forgotten():
    """Forget the plug-ins that are loaded inside, as a new process would."""
    lists = [each.entries for each in LISTS.values()]
    before, modules, loaded = [dict(entries) for entries in lists], set(sys.modules), dict(loading._loaded)
    try:
        yield
    finally:
        for entries, known in zip(lists, before, strict=True):
            entries.clear()
            entries.update(known)
        installed._scanned.clear()
        loading._loaded.clear()
        loading._loaded.update(loaded)
        for name in set(sys.modules) - modules:
            if name.startswith(PLUGIN_PREFIX):
                del sys.modules[name]
                neighbours._digests.pop(name, None)


@pytest.fixture
def failing_networks():
    """The path of tests/failing_networks.py, which is loaded."""
    path = Path(__file__).with_name("failing_networks.py")
    with plugins_forgotten():
        load_plugin(path)
        yield str(path)


@pytest.fixture
def tiny():
    """Return a function that makes a resolved study of 8 layers and 12 steps on digits.

    Its arguments replace single keys."""

    def make(**overrides):
        study = {key: dict(value) if isinstance(value, dict) else value for key, value in TINY.items()}
        for key, value in overrides.items():
            study[key] = study.get(key, {}) | value if isinstance(value, dict) else value
        return load_study(None, **study).resolve(1437, flips=False)

    return make


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """The digits as `Images`."""
    return load_images(load_study(None, data={"name": "digits"}).data, tmp_path_factory.mktemp("data"))


@pytest.fixture
def trained(tmp_path, digits):
    """Return a function that trains a run into its own directory and returns its record and its store."""

    def make(run, images=digits, folder="run", mode=CPU, **options):
        images = with_validation(images, run.data)
        store = RunStore(tmp_path / folder / run.run_id)
        steps = train(run, images, store, mode, data_hash="hash", **options)
        return finish(steps), store

    return make


@dataclass(frozen=True)
class TrainedStudy:
    """A finished study and what `depthbench run` printed."""

    path: Path
    printed: str


@pytest.fixture(scope="session")
def trained_study(tmp_path_factory) -> TrainedStudy:
    """The study "small": plain and resnet at 8 and 14 layers, 10 steps, with its report.

    One process of a test run makes it, and all share it. A test that changes it must copy it first."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # shared by all workers
    folder = folder / "trained-study"
    output = folder / "printed.txt"
    with filelock.FileLock(f"{folder}.lock"):
        if not output.exists():
            folder.mkdir()
            command = ["run", "--name", "small", *SMALL, "--jobs", "1"]
            command += ["--depths", "8,14", "--seeds", "1", "--steps", "10"]
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(folder)
                patch.setattr("depthbench.execution.process.Popen", Forked)
                patch.setattr("depthbench.report.drawing.MANY_FIGURES", math.inf)
                done = CliRunner().invoke(app, command)
            assert done.exit_code == 0, done.output
            output.write_text(done.stdout)
    return TrainedStudy(folder / "results" / "small", output.read_text())
