"""The output of `depthbench plan`."""

import dataclasses
import json
import math
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from depthbench.cli.app import app
from depthbench.errors import BadInput
from depthbench.execution.cost.calibrate import Calibration
from depthbench.execution.cost.estimate import estimate
from depthbench.execution.cost.run_memory import CONTEXT, SHARED
from depthbench.execution.plan import make_plan
from depthbench.execution.settings import Execution

SMALL = ["--depths", "8,14", "--seeds", "2", "--steps", "6", "--batch-size", "16", "--set", "width=4",
         "--set", "evaluate.every=5", "--device", "cpu"]  # fmt: skip


@pytest.fixture(autouse=True)
def free_memory(monkeypatch):
    """Let plans find 16 GB free. A busy machine may have too little, which adds a note and recomputation."""
    monkeypatch.setattr("depthbench.execution.cost.fit.available", lambda device: 16_000_000_000)


def plan(*arguments):
    words = ["plan", *SMALL, *map(str, arguments)]
    return CliRunner().invoke(app, words, catch_exceptions=False).stdout


def test_counts_without_measured_times(tmp_path):
    cost = json.loads(plan("--no-calibrate", "--json", "--results", tmp_path, "--jobs", "2"))
    assert [(row["network"], row["depth"]) for row in cost["rows"]] == [
        ("plain", 8), ("resnet", 8), ("plain", 14), ("resnet", 14)
    ]  # fmt: skip
    first = cost["rows"][0]
    assert first["parameters"] == 4934
    assert first["multiply_adds"] == 48_544
    assert first["seconds"] is cost["seconds"] is None
    assert (first["runs"], first["done"], cost["runs"], cost["done"]) == (2, 0, 8, 0)
    memory = sorted(row["memory_bytes"] for row in cost["rows"])
    assert cost["memory_bytes"] == 2 * memory[-1] - SHARED  # two seeds of the largest network
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def with_images(tiny, tmp_path):
    """Return a function that makes a plan with changes to the footprint of its images."""

    def make(**changes):
        made = make_plan(tiny(), Execution(tmp_path, device="cpu", jobs=2))
        return dataclasses.replace(made, footprint=dataclasses.replace(made.footprint, **changes))

    return make


def test_a_file_of_images_is_in_each_row_and_once_in_all(with_images):
    without, with_file = (estimate(with_images(in_file=size), measures=False) for size in (0, 1000))
    each = [[row.memory_bytes for row in cost.rows] for cost in (without, with_file)]
    assert each[1] == [memory + 1000 for memory in each[0]]
    assert with_file.memory_bytes == without.memory_bytes + 1000


def test_runs_in_turns_on_a_gpu_have_their_images_once(with_images):
    on_gpu = dataclasses.replace(with_images(held=1000), device="cuda:0")
    apart, in_turns = (estimate(dataclasses.replace(on_gpu, lanes=n), measures=False) for n in (1, 2))
    each = [row.memory_bytes for row in apart.rows]
    assert apart.memory_bytes == sum(each)
    assert in_turns.memory_bytes == sum(each) - CONTEXT - 1000


@pytest.fixture
def idle(monkeypatch):
    monkeypatch.setattr("os.getloadavg", lambda: (0.0, 0.0, 0.0))


@pytest.mark.slow
def test_times_are_measured(tmp_path, idle, monkeypatch):
    monkeypatch.setattr("depthbench.execution.cost.calibrate.FEW_SECONDS", math.inf)  # on a slow machine too
    cost = json.loads(plan("--json", "--results", tmp_path, "--jobs", "1"))
    assert cost["notes"] == []  # the reason, if a trial failed
    assert all(row["measured"] for row in cost["rows"])
    each = [row["seconds"] for row in cost["rows"]]
    assert min(each) > 0
    assert cost["seconds"] > 2 * sum(each)  # one job makes all runs, and a process must start
    assert cost["decode"] == "once"


@pytest.fixture
def known(monkeypatch):
    """Replace the measurement: a run of plain-8 takes one second."""
    measured = Calibration({("plain", 8): 1.0})
    monkeypatch.setattr("depthbench.execution.cost.estimate.calibrate", lambda plan, progress: measured)
    return ["--depths", "8", "--networks", "plain", "--json", "--results"]


def test_a_busy_machine_is_named(tmp_path, monkeypatch, known):
    monkeypatch.setattr("os.getloadavg", lambda: (64.0, 0.0, 0.0))
    (note,) = json.loads(plan(*known, tmp_path))["notes"]
    assert note.startswith("the machine is busy (load 64.0 on")
    assert json.loads(plan(*known, tmp_path, "--no-calibrate"))["notes"] == []


def test_final_evaluations_are_not_in_the_times(tmp_path, idle, known):
    cost = json.loads(plan(*known, tmp_path, "--set", 'evaluate.robustness=["noisy"]'))
    assert cost["notes"] == ["the times exclude errors on corrupted images and over 10 crops"]


def test_the_table(tmp_path):
    printed = plan("--no-calibrate", "--results", tmp_path, "--recompute", "--jobs", "1")
    assert "quick: 6 steps at batch 16, on cpu" in printed
    assert "4,934" in printed
    assert " k " in printed
    assert "8 of 8 runs to do (one at a time, " in printed
    assert "* computes its activations twice to save memory" in printed


def test_finished_runs_cost_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("depthbench.report.page.FIGURES", {})  # drawing them takes seconds
    first = ["--networks", "plain", "--depths", "8", "--jobs", "1", "--results", str(tmp_path)]
    assert CliRunner().invoke(app, ["run", *SMALL, *first, "--quiet"], catch_exceptions=False).exit_code == 0
    cost = json.loads(plan("--no-calibrate", "--json", "--results", tmp_path))
    assert [row["done"] for row in cost["rows"]] == [2, 0, 0, 0]
    assert "nothing to do: 2 of 2 runs are done" in plan(*first)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--depths 21", "use 20 or 26"),
        ("--jobs 0", "--jobs 0: use auto or a whole number"),
        ("--networks nosuch", "no network is called 'nosuch'"),
        ("nosuch", "no such study"),
    ],
)
def test_bad_input(tmp_path, arguments, message):
    done = CliRunner().invoke(app, ["plan", *arguments.split(), "--results", str(tmp_path)])
    assert isinstance(done.exception, BadInput)
    assert message in str(done.exception)


@pytest.mark.slow
def test_the_plan_of_a_small_study_does_not_import_torch(tmp_path):
    code = (
        "import sys; from pathlib import Path; from depthbench.execution.plan import make_plan\n"
        "from depthbench.execution.settings import Execution; from depthbench.study.file import load_study\n"
        f"make_plan(load_study('quick'), Execution(Path({str(tmp_path)!r}), device='cpu'))\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
