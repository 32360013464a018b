"""A study small enough to run in a test: 8 layers of 4 filters on digits, a dozen steps."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # of processes that tests start, which share the cores with other tests

import pytest
import torch

from depthbench.data.images import with_validation
from depthbench.data.load import load_images
from depthbench.store.run_store import RunStore
from depthbench.study.file import load_study
from depthbench.training.loop import finish, train
from depthbench.training.mode import TrainingMode

torch.set_num_threads(1)  # the bit-for-bit tests compare runs of one thread

CPU = TrainingMode()  # eager steps, images in memory

TINY = {
    "name": "tiny",
    "data": {"name": "digits"},
    "options": {"width": 4},
    "recipe": {"steps": 12, "batch_size": 16, "lr": 0.05, "warmup": "none", "pad": 1, "flip": False},
    "evaluate": {"every": 6, "log_every": 4, "train_size": 300},
    "grid": {"network": ["plain", "resnet"], "depth": [8], "seed": [0]},
}


def pytest_collection_modifyitems(items):
    """Tests marked `cuda` run wherever there is a CUDA device."""
    if not torch.cuda.is_available():
        for item in items:
            if "cuda" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture
def tiny():
    """Makes a resolved tiny study; sections given replace single keys."""

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
    """Trains a run into a directory of its own: (its run.json, its store)."""

    def make(run, images=digits, folder="run", mode=CPU, **options):
        images = with_validation(images, run.data)
        store = RunStore(tmp_path / folder / run.run_id)
        steps = train(run, images, store, mode, data_hash="hash", **options)
        return finish(steps), store

    return make
