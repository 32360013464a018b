"""A run has the same results, bit for bit, whatever the backend, the order, interruptions and the load are.

This holds on a CPU for a fixed number of threads, which is one in all tests. test_ray.py and test_slurm.py
compare runs that moved to another node or job with local ones."""

import dataclasses
import multiprocessing
import os
import signal

import pytest

from depthbench.data.load import load_images
from depthbench.errors import Interrupted
from depthbench.events import RowLogged, RunEnded, Silent
from depthbench.execution.plan import make_plan
from depthbench.execution.run import execute
from depthbench.execution.settings import Execution
from depthbench.store.study_store import StudyStore
from depthbench.study.file import load_study
from depthbench.training.loop import finish, train
from tests.conftest import CPU, TINY

pytestmark = pytest.mark.slow

STUDY = TINY | {
    "options": {"width": 4, "dropout": 0.2},  # draws from torch's generator
    "recipe": TINY["recipe"] | {"steps": 60},
    "evaluate": {"every": 30, "log_every": 5, "train_size": None},
    "grid": {"network": ["plain", "resnet"], "depth": [8], "seed": [0, 1]},
}
TABLES = ("history", "layers", "predictions")


@pytest.fixture(scope="module")
def study():
    return load_study(None, **STUDY)


@pytest.fixture(scope="module")
def expected(study, tmp_path_factory):
    """The answer: each run trained alone, in this process."""
    store = StudyStore(tmp_path_factory.mktemp("alone") / "tiny")
    images = load_images(study.data, tmp_path_factory.mktemp("data"))
    for run in study.resolve(len(images.train_y), images.flips).runs():
        finish(train(run, images, store.run(run.run_id), CPU, data_hash=images.content_hash()))
    return answer(store)


def answer(store):
    """Return all that a run's results consist of, except for times, memory and the environment."""
    found = {}
    for record in store.records():
        assert record.environment.threads == 1
        tables = {name: record.tables[name].sha256 for name in TABLES}
        found[record.run_id] = (record.status, record.step, record.final, record.hashes, tables)
    return found


class Stop(Silent):
    """A display that presses Ctrl-C once, when a run has logged this step."""

    def __init__(self, step):
        self.step, self.ended = step, []

    def show(self, event):
        if isinstance(event, RowLogged) and event.step == self.step:
            self.step = None
            os.kill(os.getpid(), signal.SIGINT)
        elif isinstance(event, RunEnded):
            self.ended.append(event.status)


def in_reverse(plan):
    made = plan(jobs=1)
    execute(dataclasses.replace(made, todo=made.todo[::-1]))


def in_shards(plan):
    for index in (2, 1):
        execute(plan(jobs=1, shard=(index, 2)))


def interrupted(plan):
    """Stop two runs at once in the middle, and then train one at a time."""
    display = Stop(10)
    with pytest.raises(Interrupted):
        execute(plan(jobs=2), display)
    assert "interrupted" in display.ended
    in_reverse(plan)


def two_at_once_on_a_busy_machine(plan):
    """Train while other processes use all cores."""
    others = [multiprocessing.get_context("fork").Process(target=spin) for _ in range(os.cpu_count() or 1)]
    for other in others:
        other.start()
    try:
        execute(plan(jobs=2))
    finally:
        for other in others:
            other.kill()
            other.join()


def spin():
    while True:
        pass


@pytest.mark.parametrize("way", [in_reverse, in_shards, two_at_once_on_a_busy_machine, interrupted])
def test_the_answer_is_the_same(way, study, expected, tmp_path):
    way(lambda jobs, **settings: make_plan(study, Execution(tmp_path, device="cpu", jobs=jobs, **settings)))
    found = answer(StudyStore(tmp_path / "tiny"))
    assert found == expected
    assert {status for status, *_ in found.values()} == {"done"}
