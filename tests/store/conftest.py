"""A stored study of one run."""

import math

import pandas as pd
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from depthbench.store.record import Record
from depthbench.store.study_store import StudyStore


@pytest.fixture
def stored(tiny, tmp_path):
    """Return a store with one finished run of a tiny study, and the study."""
    store, study = StudyStore(tmp_path / "tiny"), tiny()
    with store.opened(study, "hash"):
        write_run(store, next(study.runs()))
    return store, study


def write_run(store, run, status="done"):
    """Store a run of two steps and two layers, and return its store."""
    run_store = store.run(run.run_id)
    history = [{"step": 1, "loss": 2.5, "test_error": math.nan}, {"step": 2, "loss": 2.0, "test_error": 50.0}]
    layers = pd.DataFrame({"step": [0, 0], "layer": [1, 2], "name": ["a", "b"], "stage": ["1", "fc"]})
    run_store.write_rows(history, layers)
    record = Record.of(run, parameters=7).changed(status=status, final={"test_error": 50.0})
    run_store.write(record)
    return run_store


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Return a function that makes this process another machine, which has its own cache and mirrors."""

    def enter(name):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))

    enter("first")
    return enter


@pytest.fixture
def url(machine):
    """An empty place in memory where a study can be stored."""
    yield "memory://bucket/tiny"
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
