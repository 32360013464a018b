"""Tests of the local backend alone. contracts/test_backends.py has the contract of every backend."""

import dataclasses
import os
import re
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from depthbench import load_results, run_study
from depthbench.errors import Interrupted
from depthbench.events import RowLogged, RunEnded, Silent, Stopping
from depthbench.execution import stalls
from depthbench.execution.cost.estimate import estimate
from depthbench.execution.plan import make_plan
from depthbench.execution.run import execute
from depthbench.execution.settings import Execution
from depthbench.store.study_store import StudyStore
from tests.failing_networks import HANG
from tests.processes import is_alive

pytestmark = pytest.mark.slow


class StopAtStep(Silent):
    """A display that presses Ctrl-C once, when a run logs this step."""

    def __init__(self, step):
        self.step = step
        self.has_pressed = False
        self.outcomes = []

    def show(self, event):
        if isinstance(event, RowLogged) and event.step == self.step and not self.has_pressed:
            self.has_pressed = True
            os.kill(os.getpid(), signal.SIGINT)
        elif isinstance(event, RunEnded):
            self.outcomes.append(event.status)


def test_a_resumed_run_equals_an_uninterrupted_run_bit_for_bit(tiny, tmp_path, trained):
    study = tiny(recipe={"steps": 200}, evaluate={"every": 100, "log_every": 1}, grid={"network": ["resnet"]})
    (run,) = study.runs()
    _, whole = trained(run)

    def plan():  # one thread, like the uninterrupted run
        return dataclasses.replace(make_plan(study, Execution(tmp_path / "parts", device="cpu")), threads=1)

    display = StopAtStep(20)
    with pytest.raises(Interrupted):
        execute(plan(), display)
    assert display.outcomes == ["interrupted"]
    parts = StudyStore(tmp_path / "parts" / "tiny")
    (store,) = parts.run_stores()
    assert store.read().status == "interrupted"
    assert 20 <= store.read().step < 200
    assert store.checkpoint.exists()
    assert len(store.frame("history")) == store.read().step  # so that an unfinished study can be reported

    execute(plan())
    assert store.read().status == "done"
    for name in ("history", "layers"):
        assert whole.frame(name).equals(store.frame(name))


def streamed(plan):
    """Return `plan` with runs that stream their images."""
    return dataclasses.replace(plan, footprint=dataclasses.replace(plan.footprint, are_streamed=True))


def in_turns(study, path, lanes):
    """Return a plan of `study` whose runs take turns in one process."""
    return dataclasses.replace(
        make_plan(study, Execution(path, device="cpu")), jobs=lanes, lanes=lanes, threads=1
    )


def test_runs_that_take_turns_have_the_results_of_runs_alone(tiny, tmp_path, trained):
    study = tiny(grid={"seed": [0, 1]})
    plan = in_turns(study, tmp_path / "turns", lanes=3)
    execute(plan)
    for run in study.runs():
        _, alone = trained(run)
        store = plan.store.run(run.run_id)
        assert store.read().hashes.batches == alone.read().hashes.batches
        for name in ("history", "layers"):
            assert alone.frame(name).equals(store.frame(name))


def test_the_plan_decides_whether_images_are_streamed(tiny, tmp_path):
    plan = make_plan(tiny(grid={"network": ["resnet"]}), Execution(tmp_path, device="cpu"))
    assert not plan.footprint.are_streamed
    execute(streamed(plan))
    (store,) = plan.store.run_stores()
    assert "streamed" in store.read().execution.images


@pytest.mark.cuda
def test_a_study_is_measured_and_trained_on_a_gpu(tiny, tmp_path):
    """All processes are new, so nothing has initialised CUDA. There are enough steps to measure lanes."""
    study = tiny(recipe={"steps": 3000}, evaluate={"every": 1500, "log_every": 500})
    cost = estimate(make_plan(study, Execution(tmp_path, device="cuda:0")))
    assert [row.measured for row in cost.rows] == [True, True]
    assert not any("measured" in note for note in cost.notes)
    path = run_study(study, tmp_path, device="cuda:0")
    runs = load_results(path).runs
    assert runs.status.tolist() == ["done", "done"]
    assert (runs["train_error_eval"] < 50).all()
    for store in StudyStore(path).run_stores():
        assert store.read().execution.step == "captured"


def test_ctrl_c_keeps_the_state_of_every_run_that_takes_turns(tiny, tmp_path):
    study = tiny(recipe={"steps": 2000}, evaluate={"every": 2000, "log_every": 1})
    plan = in_turns(study, tmp_path, lanes=2)
    display = StopAtStep(20)
    with pytest.raises(Interrupted):
        execute(plan, display)
    assert display.outcomes == ["interrupted", "interrupted"]
    steps = [store.read().step for store in plan.store.run_stores()]
    assert all(15 <= step < 2000 for step in steps)
    assert max(steps) - min(steps) <= 2  # they took turns


def test_a_failure_does_not_fail_the_runs_that_share_its_process(tiny, tmp_path, failing_networks):
    grid = {"network": ["small", "raises"]}
    study = tiny(grid=grid, options={"width": None}, plugins=[failing_networks])
    plan = in_turns(study, tmp_path, lanes=2)
    execute(plan)
    runs = load_results(plan.store.path).runs.set_index("network")
    assert runs.status.to_dict() == {"small": "done", "raises": "failed"}


def test_a_death_fails_all_runs_that_share_the_process(tiny, tmp_path, failing_networks):
    study = tiny(grid={"network": ["small", "dies"]}, options={"width": None}, plugins=[failing_networks])
    plan = in_turns(study, tmp_path, lanes=2)
    execute(plan)
    runs = load_results(plan.store.path).runs.set_index("network")
    assert runs.status.to_dict() == {"dies": "failed", "small": "failed"}
    assert runs.reason.str.contains("SIGKILL").all()


def test_a_study_can_run_in_a_thread_other_than_the_main_thread(tiny, tmp_path):
    study = tiny(grid={"network": ["resnet"]})
    paths = []
    thread = threading.Thread(target=lambda: paths.append(run_study(study, tmp_path, device="cpu", jobs=1)))
    thread.start()
    thread.join()
    files = sorted(file.stem for file in paths[0].glob("runs/*/[!.]*"))
    assert files == ["history", "layers", "predictions", "run", "weights"]


def reads_images(process):
    try:
        return "spawn_main" in " ".join(process.cmdline())
    except psutil.Error:  # the process has ended, e.g. one that ran git
        return False


class StopAtOnce(Silent):
    """A display that presses Ctrl-C twice as soon as a process that reads images starts."""

    def __init__(self):
        self.readers = []

    def tick(self):
        if self.readers:
            return
        runs = psutil.Process().children()
        started = set(psutil.Process().children(recursive=True)) - set(runs)
        self.readers = [process for process in started if reads_images(process)]
        if self.readers:
            os.kill(os.getpid(), signal.SIGINT)

    def show(self, event):
        if isinstance(event, Stopping):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.real_processes  # how they end is what is tested
def test_ctrl_c_twice_ends_the_processes_that_read_images(tiny, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("depthbench.execution.backends.local.TICK", 0.02)
    plan = make_plan(tiny(grid={"network": ["resnet"]}), Execution(tmp_path, device="cpu"))
    display = StopAtOnce()
    with pytest.raises(Interrupted):
        execute(streamed(plan), display)
    assert display.readers
    wait_until(lambda: not any(is_alive(process.pid) for process in display.readers), seconds=1)
    assert capfd.readouterr().err == ""


def test_workers_save_their_state_if_the_parent_is_killed(tiny, tmp_path):
    study = tiny(recipe={"steps": 100_000}, evaluate={"every": 100_000, "log_every": 1})
    file = tmp_path / "study.toml"
    file.write_text(study.to_toml())
    command = [sys.executable, "-m", "depthbench", "run", str(file), "--device", "cpu", "--quiet"]
    parent = subprocess.Popen([*command, "--results", str(tmp_path)])
    store = StudyStore(tmp_path / "tiny")
    wait_until(lambda: sum(s.read() is not None for s in store.run_stores()) == 2)  # both runs have started
    parent.kill()
    parent.wait()
    wait_until(lambda: all(s.checkpoint.exists() for s in store.run_stores()))
    assert {s.read().status for s in store.run_stores()} == {"interrupted"}


@pytest.fixture
def hanging(tiny, tmp_path, failing_networks, monkeypatch):
    """Return a plan of two runs at once, one of which hangs in its first step."""
    monkeypatch.setenv(HANG, "1")
    study = tiny(grid={"network": ["hangs", "small"]}, options={"width": None}, plugins=[failing_networks])
    return make_plan(study, Execution(tmp_path, device="cpu", jobs=2))


class WhenOneIsLeft(Silent):
    """A display that does something when the first run is done."""

    def __init__(self, do):
        self.do = do

    def show(self, event):
        if isinstance(event, RunEnded) and event.status == "done":
            self.do()


def test_a_run_without_progress_fails_and_the_others_go_on(hanging, monkeypatch):
    execute(hanging, WhenOneIsLeft(lambda: monkeypatch.setattr(stalls, "SHORTEST_STALL", 0.5)))
    runs = load_results(hanging.store.path).runs.set_index("network")
    assert runs.status.to_dict() == {"hangs": "failed", "small": "done"}
    assert re.fullmatch(r"no progress since step [01] for [\d.]+ (seconds|minutes)", runs.reason["hangs"])


def test_ctrl_c_ends_a_run_that_hangs(hanging, monkeypatch):
    monkeypatch.setattr(stalls, "SECONDS_TO_STOP", 1.0)
    with pytest.raises(Interrupted):
        execute(hanging, WhenOneIsLeft(lambda: os.kill(os.getpid(), signal.SIGINT)))
    runs = load_results(hanging.store.path).runs.set_index("network")
    assert runs.status.to_dict() == {"hangs": "interrupted", "small": "done"}


@pytest.mark.real_processes
def test_a_hanging_worker_dies_with_its_parent_and_leaves_the_run_to_the_next_command(
    tiny, tmp_path, failing_networks
):
    study = tiny(grid={"network": ["hangs"]}, options={"width": None}, plugins=[failing_networks])
    file = tmp_path / "study.toml"
    file.write_text(study.to_toml())
    command = [sys.executable, "-m", "depthbench", "run", str(file), "--device", "cpu", "--quiet"]
    command += ["--trust-plugins"]
    parent = subprocess.Popen([*command, "--results", str(tmp_path)], env=os.environ | {HANG: "1"})
    store = StudyStore(tmp_path / "tiny")
    wait_until(lambda: any(s.read() is not None for s in store.run_stores()))  # the run has started
    orphans = psutil.Process(parent.pid).children(recursive=True)
    parent.kill()
    parent.wait()
    run_study(study, tmp_path, device="cpu", jobs=1)  # waits for the lock of the run
    assert not any(is_alive(orphan.pid) for orphan in orphans)
    assert load_results(store.path).runs.status.tolist() == ["done"]


def wait_until(condition, seconds=120):
    """Wait until a condition is true because of another process. Fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_every_process_trains_on_the_images_of_the_plan(tiny, tmp_path):
    """Images are read once, so later changes on disk affect no run."""
    plan = make_plan(tiny(grid={"network": ["plain"]}), Execution(tmp_path, device="cpu"))
    half = dataclasses.replace(plan.data, train_x=plan.data.train_x[:700], train_y=plan.data.train_y[:700])
    execute(dataclasses.replace(plan, data=half))
    last = load_results(plan.store.path).history.iloc[-1]
    assert last.epoch == last.step * 16 / 700
