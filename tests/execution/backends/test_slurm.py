"""Tests of the Slurm backend alone. contracts/test_backends.py has the contract of every backend."""

import os
import signal

import pytest

from depthbench import load_results
from depthbench.errors import BadInput, Interrupted
from depthbench.events import RowLogged, RunEnded, RunStarted, Silent
from depthbench.execution.backends import slurm
from depthbench.execution.plan import make_plan
from depthbench.execution.run import execute
from depthbench.execution.settings import Execution

pytest.importorskip("submitit")

LOCAL = (("cluster", "local"),)


class Watcher(Silent):
    """A display that keeps the starts and ends of runs, and does something when a run logs a step."""

    def __init__(self, step=None, do=None):
        self.step, self.do = step, do
        self.events = []

    def show(self, event):
        if isinstance(event, RowLogged) and event.step == self.step:
            self.step = None
            self.do()
        if isinstance(event, RunStarted | RunEnded):
            self.events.append(event)

    @property
    def ends(self):
        return [(event.status, event.reason) for event in self.events if isinstance(event, RunEnded)]


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Put commands of Slurm into PATH. Jobs are accepted and never run: sacct prints the file "states"."""
    folder = tmp_path / "bin"
    folder.mkdir()
    scripts = {
        "sbatch": f'cat "$1" > {folder}/submitted.sh; echo Submitted batch job 70',
        "srun": "",
        "sacct": f"cat {folder}/states",
        "scancel": f'echo "$@" >> {folder}/cancelled',
    }
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    for name in ("STATE_SECONDS", "READ_SECONDS", "LATE_SECONDS"):
        monkeypatch.setattr(slurm, name, 0.0)
    return folder


def say(cluster, **states):
    lines = ["JobID|State|NodeList", *(f"70_{job[1:]}|{state}|n1" for job, state in states.items())]
    (cluster / "states").write_text("\n".join(lines) + "\n")


def plan_of(study, results, **settings):
    return make_plan(study, Execution(results, device="cpu", backend="slurm", **settings))


def test_the_script_for_slurm_has_what_was_asked_for(tiny, tmp_path, cluster):
    given = {"partition": "gpu", "time": "1-12", "mail-user": "me", "setup": "module load cuda", "mem": "8GB"}
    say(cluster, _0="COMPLETED", _1="COMPLETED")
    study = tiny()
    execution = Execution(
        tmp_path,
        device="cpu",
        backend="slurm",
        slurm=tuple(given.items()),
        jobs=1,
        cpus_per_run=3,
        gpus_per_run=2,
    )
    execute(make_plan(study, execution))
    lines = (cluster / "submitted.sh").read_text().splitlines()
    for line in (
        *("--partition=gpu", "--time=2160", "--mail-user=me", "--mem=8GB", "--array=0-1%1"),
        *("--cpus-per-task=3", "--gpus-per-node=2", "--job-name=depthbench-tiny", "--signal=USR2@90"),
    ):
        assert f"#SBATCH {line}" in lines
    assert "module load cuda" in lines


def test_a_dead_job_fails_its_run_and_names_the_state_and_the_log(tiny, tmp_path, cluster):
    say(cluster, _0="OUT_OF_MEMORY", _1="CANCELLED by 1000")
    plan, display = plan_of(tiny(), tmp_path), Watcher()
    execute(plan, display)
    (out_of_memory, cancelled) = (reason for _, reason in display.ends)
    assert out_of_memory.startswith(f"job 70_0 ended with OUT_OF_MEMORY; see {plan.store.path}/slurm/")
    assert "job 70_1 ended with CANCELLED by 1000" in cancelled
    assert load_results(plan.store.path).runs.reason.tolist() == [out_of_memory, cancelled]
    assert not list(plan.store.path.rglob("*.pkl"))


def test_ctrl_c_cancels_jobs_that_wait_and_lets_the_others_save(tiny, tmp_path, cluster, monkeypatch):
    say(cluster, _0="RUNNING", _1="PENDING")
    plan = plan_of(tiny(), tmp_path)
    monkeypatch.setattr(slurm, "STATE_SECONDS_ENDING", 0.0)
    ticks = []

    class Stops(Watcher):
        def tick(self):
            ticks.append(1)
            (file,) = plan.store.path.glob("slurm/*") if len(ticks) < 3 else [None]
            if len(ticks) == 1:
                (file / f"{plan.todo[0].run_id}.events").write_text('{"event": "RunStarted"}\n')
            elif len(ticks) == 2:
                os.kill(os.getpid(), signal.SIGINT)
            else:
                say(cluster, _0="COMPLETED", _1="CANCELLED")

    display = Stops()
    with pytest.raises(Interrupted):
        execute(plan, display)
    assert (cluster / "cancelled").read_text().splitlines() == ["--quiet 70_1", "--signal=TERM 70_0"]
    assert display.ends == [("interrupted", None)]


def test_what_sbatch_refuses_is_one_line(tiny, tmp_path, cluster):
    (cluster / "sbatch").write_text("#!/bin/sh\necho 'sbatch: error: invalid partition' >&2; exit 1\n")
    with pytest.raises(BadInput, match="sbatch refused the jobs: sbatch: error: invalid partition; see"):
        execute(plan_of(tiny(), tmp_path))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "no Slurm here .* not found.*--slurm cluster=local"),
        ({"gpus_per_run": 0.5, "slurm": LOCAL}, "--gpus-per-run 0.5: Slurm gives a job whole GPUs"),
        ({"address": "here", "slurm": LOCAL}, "--address here: Slurm needs no address"),
        ({"slurm": (("cluster", "cloud"),)}, "cluster=cloud: use slurm or local"),
        ({"slurm": (("time", "soon"),)}, "time=soon: use minutes"),
        (
            {"slurm": (("cpus-per-task", "4"),)},
            "cpus-per-task=4: leave it out, because --cpus-per-run sets it",
        ),
    ],
)
def test_bad_settings_are_refused_when_the_study_is_planned(tiny, tmp_path, monkeypatch, settings, message):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadInput, match=message):
        plan_of(tiny(), tmp_path / "results", **settings)
    assert not (tmp_path / "results").exists()


def test_parameters_need_the_backend(tiny, tmp_path):
    with pytest.raises(BadInput, match="--slurm cluster=local needs --on slurm"):
        make_plan(tiny(), Execution(tmp_path, device="cpu", slurm=LOCAL))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 90), ("1:30", 2), ("4:00:00", 240), ("2-0", 2880), ("1-02:03", 1563), ("1-00:00:01", 1441)],
)
def test_time_limits_as_slurm_writes_them(text, expected):
    assert slurm.minutes(text) == expected


def test_a_run_that_another_process_trains_is_not_submitted(tiny, tmp_path, cluster):
    plan, display = plan_of(tiny(grid={"network": ["plain"]}), tmp_path), Watcher()
    with plan.store.opened(plan.study, plan.data_hash):
        pass
    with plan.store.run(plan.todo[0].run_id).locked():
        execute(plan, display)
    assert display.ends == [("failed", "another process trains it; rerun when it has ended")]
    assert not (cluster / "submitted.sh").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("forked_jobs")
def test_a_resumed_run_equals_a_local_one_and_a_killed_job_fails(tiny, tmp_path, trained):
    study = tiny(recipe={"steps": 200}, evaluate={"every": 100, "log_every": 1}, grid={"network": ["resnet"]})
    plan = plan_of(study, tmp_path, slurm=LOCAL)
    (run,) = plan.todo
    store = plan.store.run(run.run_id)
    with pytest.raises(Interrupted):
        execute(plan, Watcher(20, lambda: os.kill(os.getpid(), signal.SIGINT)))
    assert store.read().status == "interrupted"

    def kill():
        (log,) = plan.store.path.glob("slurm/*/*_log.err")
        os.kill(int(log.name.partition("_")[0]), signal.SIGKILL)

    interrupted_at = store.read().step
    display = Watcher(interrupted_at + 20, kill)
    execute(plan_of(study, tmp_path, slurm=LOCAL), display)
    ((status, reason),) = display.ends
    assert (status, reason[:4], "see " in reason) == ("failed", "job ", True)
    execute(plan_of(study, tmp_path, slurm=LOCAL))
    assert store.read().status == "done"
    _, whole = trained(run)
    for name in ("history", "layers"):
        assert whole.frame(name).equals(store.frame(name))


@pytest.mark.slow
@pytest.mark.real_processes
def test_a_study_with_the_processes_of_submitit(tiny, tmp_path):
    plan = plan_of(tiny(grid={"network": ["plain"]}), tmp_path, slurm=LOCAL)
    execute(plan)
    assert load_results(plan.store.path).runs.status.tolist() == ["done"]
    assert not (plan.store.path / "slurm").exists()
