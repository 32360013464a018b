"""The command line under torchrun. tests/execution/test_ranks.py tests the parts in forked processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from depthbench import load_study, run_study
from depthbench.store.run_store import RunStore
from depthbench.training.loop import finish, train
from depthbench.training.mode import TrainingMode
from tests.conftest import plugins_forgotten

ROOT = Path(__file__).parents[3]
KILLED = 12  # the step in whose forward pass rank 1 is killed

PLUGIN = f'''
"""A network with batch normalisation, whose rank 1 is killed in the middle of a step."""
import os, signal
from torch import nn

class Fragile(nn.Module):
    def __init__(self, depth, in_channels, num_classes):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, num_classes)
        self.unused = nn.Linear(2, 2)
        self.calls = 0

    def forward(self, x):
        x = self.norm(self.conv(x)).relu().mean((2, 3))
        self.calls += self.training
        if self.calls == {KILLED} + 1 and os.environ.get("RANK") == "1":
            os.kill(os.getpid(), signal.SIGKILL)
        return self.fc(x)

NETWORKS = {{"fragile": Fragile}}
'''


@pytest.mark.slow
def test_a_killed_process_ends_the_run_with_one_line_and_one_process_resumes_it(tmp_path, digits):
    plugin = tmp_path / "fragile.py"
    plugin.write_text(PLUGIN)
    study = ["--plugin", str(plugin), "--networks", "fragile", "--depths", "1", "--seeds", "1"]
    study += ["--set", "evaluate.every=10", "--set", "evaluate.log_every=1", "--batch-size", "15"]
    command = ["-m", "depthbench", "run", "--name", "fragile", *study, "--steps", "20", "--device", "cpu"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    environment.pop("OMP_NUM_THREADS")
    done = subprocess.run(
        [*torchrun, *command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 1, done.stderr
    ours = [line for line in done.stderr.splitlines() if line.startswith("depthbench: ")]
    assert ours == ["depthbench: a process of the run died (rank 1); rerun this command to resume"]
    assert f"interrupted, saved at step {KILLED}" in done.stdout
    assert done.stdout.count("1 run of 20 steps") == 1  # the other process prints nothing
    (folder,) = (tmp_path / "results" / "fragile" / "runs").iterdir()
    record = RunStore(folder).read()
    assert (record.status, record.step, record.execution.processes) == ("interrupted", KILLED, 2)
    assert record.reason == "a process of the run died (rank 1)"
    assert (folder / "checkpoint.pt").exists()

    with plugins_forgotten():
        resumed = load_study(tmp_path / "results" / "fragile" / "study.toml")
        run_study(resumed, tmp_path / "results", device="cpu", jobs=1)
        record = RunStore(folder).read()
        assert (record.status, record.step, record.execution.processes) == ("done", 20, None)
        (run,) = resumed.runs()
        torch.set_num_threads(1)
        whole = RunStore(tmp_path / "whole" / run.run_id)
        finish(train(run, digits, whole, TrainingMode(), data_hash="hash"))
    ours, expected = (store.frame("history") for store in (RunStore(folder), whole))
    assert ours["batch_hash"].tolist() == expected["batch_hash"].tolist()
    assert ours["loss"].to_numpy() == pytest.approx(expected["loss"].to_numpy(), rel=1e-4)  # float32
    assert ours["test_error"].to_numpy()[-1] == pytest.approx(expected["test_error"].to_numpy()[-1], abs=1)
