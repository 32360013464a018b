"""The Slurm backend: each run is a job, submitted and watched with submitit. What a job does: slurm_job.py.

With the setting `cluster=local`, submitit's local executor takes the place of Slurm, to try it out."""

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from depthbench.errors import BadInput, Interrupted, any_of
from depthbench.events import Display, RunEnded, RunStarted, Stopping
from depthbench.execution.backends.local import TICK, collect_signals
from depthbench.execution.backends.slurm_job import EventReader, RunJob
from depthbench.execution.ends import store_end
from depthbench.execution.plan import Plan
from depthbench.execution.settings import Execution
from depthbench.store.record import Record
from depthbench.study.model import Run

if TYPE_CHECKING:
    import submitit

CLUSTERS = ("slurm", "local")
COMMANDS = ("sbatch", "srun", "sacct", "scancel")
FOLDER = "slurm"
"""The folder of a results directory with the logs of jobs."""

DAY = 24 * 60  # minutes: the default time limit. A job that reaches its limit is queued again.
MOST_TIMEOUTS = 100
LISTS = ("setup", "srun_args", "teardown")  # parameters that may be given several times
OURS = {  # parameters that a user cannot set, and why
    "array": "--jobs sets it",
    "array_parallelism": "--jobs sets it",
    "cpus_per_task": "--cpus-per-run sets it",
    "gpus_per_node": "--gpus-per-run sets it",
    "num_gpus": "--gpus-per-run sets it",
    "nodes": "each run is one job on one node",
    "ntasks_per_node": "each run is one process",
    "job_name": "--name sets it",
    **dict.fromkeys(("output", "error", "open_mode", "signal"), "depthbench needs its own value"),
}

FINAL_STATES = (
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL"),
    *("OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT"),
    *("FINISHED", "INTERRUPTED"),  # of the local executor
)
STATE_SECONDS = 30.0  # between two queries of Slurm
STATE_SECONDS_ENDING = 5.0  # while the last jobs end
READ_SECONDS = 2.0  # between two reads of the event files of a cluster
READ_SECONDS_LOCAL = 0.05
LATE_SECONDS = 60.0
"""Seconds for which a job has a final state before it counts as dead. Slurm may queue it again, and its last
event may take a moment to appear on the shared disk."""
STOP_SECONDS = 180.0  # that runs have to save their state after Ctrl-C


def check(execution: Execution) -> None:
    """Check that jobs can be submitted with these settings. Raises BadInput."""
    if importlib.util.find_spec("submitit") is None:
        raise BadInput("--on slurm needs submitit: install it with `pip install 'depthbench[slurm]'`")
    if execution.address is not None:
        raise BadInput(
            f"--address {execution.address}: Slurm needs no address; leave it out, and run this command on "
            "the cluster"
        )
    gpus = execution.gpus_per_run
    if gpus is not None and gpus != int(gpus):
        raise BadInput(f"--gpus-per-run {gpus:g}: Slurm gives a job whole GPUs; use a whole number")
    parameters(execution, jobs=1, name="depthbench")
    if cluster_of(execution) == "slurm":
        for command in COMMANDS:
            if shutil.which(command) is None:
                raise BadInput(
                    f"no Slurm here ({command} not found): run this command on a login node of the cluster, "
                    "or try it out with --slurm cluster=local"
                )


def cluster_of(execution: Execution) -> str:
    """Return where jobs are submitted to: slurm or local."""
    cluster = dict(execution.slurm).get("cluster", "slurm")
    if cluster not in CLUSTERS:
        raise BadInput(f"--slurm cluster={cluster}: use {any_of(CLUSTERS)}")
    return cluster


def parameters(execution: Execution, *, jobs: int, name: str) -> dict[str, Any]:
    """Return the parameters of submitit's executor for Slurm. Raises BadInput."""
    from submitit.slurm.slurm import SlurmExecutor

    known = SlurmExecutor._valid_parameters()
    chosen: dict[str, Any] = {"time": DAY}
    others: dict[str, str | bool] = {}
    for given, text in execution.slurm:
        key = given.replace("-", "_")
        if key in OURS:
            raise BadInput(f"--slurm {given}={text}: leave it out, because {OURS[key]}")
        if key == "time":
            chosen[key] = minutes(text)
        elif key in LISTS:
            chosen[key] = [*chosen.get(key, []), text]
        elif key in known and key != "additional_parameters":
            chosen[key] = _value(text)
        elif key != "cluster":
            others[given] = text if text else True
    if others:
        chosen["additional_parameters"] = others
    if execution.gpus_per_run:
        chosen["gpus_per_node"] = int(execution.gpus_per_run)
    return chosen | {
        "cpus_per_task": execution.cpus_per_run or 1,
        "array_parallelism": jobs,
        "job_name": f"depthbench-{name}",
    }


def _value(text: str) -> str | int | bool:
    if text.isdecimal():
        return int(text)
    return {"": True, "true": True, "false": False}.get(text.lower(), text)


def minutes(text: str) -> int:
    """Convert a time limit in Slurm's notation to minutes. Seconds are rounded up. Raises BadInput."""
    match = re.fullmatch(r"(?:(\d+)-(\d+)(?::(\d+))?(?::(\d+))?|(?:(\d+):)?(\d+):(\d+)|(\d+))", text)
    if match is None:
        raise BadInput(f"--slurm time={text}: use minutes, hours:minutes:seconds or days-hours")
    days, day_hours, day_minutes, day_seconds, hours, only_minutes, seconds, alone = (
        int(part or 0) for part in match.groups()
    )
    total = days * DAY + (day_hours + hours) * 60 + day_minutes + only_minutes + alone
    if not total and not day_seconds + seconds:
        raise BadInput(f"--slurm time={text}: use a time above 0")
    return total + (day_seconds + seconds > 0)


def execute(plan: Plan, display: Display) -> None:
    """Train `plan.todo` in jobs, at most `plan.jobs` at once. See backend.Backend.

    If this process is killed, the jobs go on."""
    signals: list[int] = []
    with collect_signals(signals):
        _Submission(plan, display, signals).finish()
    if signals:
        raise Interrupted


@dataclass
class _Watched:
    """A job that was submitted."""

    run: Run
    job: "submitit.Job[None]"
    events: EventReader
    has_started: bool = False
    end: RunEnded | None = None
    """How the run ended. After `interrupted`, it may start again."""
    gone_since: float | None = None
    """The time since which the job has a final state."""


class _Submission:
    """A plan in progress: the runs to submit, and the jobs that were submitted."""

    def __init__(self, plan: Plan, display: Display, signals: list[int]):
        self.plan, self.display, self.signals = plan, display, signals
        self.is_local = cluster_of(plan.execution) == "local"
        self.waiting = deque(plan.todo)
        self.watched: list[_Watched] = []
        self.ending: list[_Watched] = []
        """Jobs whose run has ended."""
        self.folder = plan.store.path.resolve() / FOLDER / f"{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}"
        self.executor = self._executor()
        self.stopped_at: float | None = None
        self.needs_logs = False
        self._asked_at = self._read_at = self._ticked_at = float("-inf")

    def finish(self) -> None:
        """Submit and watch until every run has ended, or all have stopped after a signal."""
        self._leave_busy_runs()
        try:
            while self.waiting or self.watched:
                if self.signals and self.stopped_at is None:
                    self._stop()
                if len(self.signals) > 1:
                    self._cancel(self.watched)
                    break
                self._submit()
                self._watch()
                if time.monotonic() - self._ticked_at > TICK:
                    self.display.tick()
                    self._ticked_at = time.monotonic()
                time.sleep(READ_SECONDS_LOCAL)
        except BaseException:
            self._cancel(self.watched)
            raise
        self._clean()

    def _executor(self) -> "submitit.Executor":
        from submitit.local.local import LocalExecutor
        from submitit.slurm.slurm import SlurmExecutor

        plan = self.plan
        chosen = parameters(plan.execution, jobs=plan.jobs, name=plan.study.name)
        executor: submitit.Executor
        if self.is_local:
            executor = LocalExecutor(self.folder, max_num_timeout=MOST_TIMEOUTS)
            usable = {key: chosen[key] for key in ("signal_delay_s", "gpus_per_node") if key in chosen}
            executor.update_parameters(timeout_min=chosen["time"], **usable)
        else:
            executor = SlurmExecutor(self.folder, max_num_timeout=MOST_TIMEOUTS)
            executor.update_parameters(**chosen)
        return executor

    def _leave_busy_runs(self) -> None:
        """End the runs that other jobs train, for example jobs of a command that was killed."""
        busy = self.plan.store.busy_runs([run.run_id for run in self.plan.todo])
        for run in self.plan.todo:
            store = self.plan.store.run(run.run_id)
            if run.run_id in busy:
                self.waiting.remove(run)
                reason = "another process trains it; rerun when it has ended"
                record = (store.read() or Record.of(run)).changed(status="failed", reason=reason)
                self.display.show(RunStarted(run))
                self.display.show(RunEnded(run, record))

    def _submit(self) -> None:
        """Submit all runs as one array of jobs. The local executor has no arrays and gets a few at a time."""
        if self.signals or not self.waiting:
            return
        count = self.plan.jobs - len(self.watched) if self.is_local else len(self.waiting)
        runs = [self.waiting.popleft() for _ in range(min(count, len(self.waiting)))]
        if not runs:
            return
        jobs = [self._job(run) for run in runs]
        with _ignored_ctrl_c() if self.is_local else contextlib.nullcontext():
            submitted = self._submitted(jobs)
        for job, described in zip(submitted, jobs, strict=True):
            self.watched.append(_Watched(described.run, job, EventReader(described.events, described.run)))

    def _submitted(self, jobs: Sequence[RunJob]) -> "list[submitit.Job[None]]":
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        try:
            return self.executor.submit_array(jobs)
        except (FailedJobError, FailedSubmissionError) as error:
            said = " ".join(str(error).split())
            raise BadInput(f"sbatch refused the jobs: {said}; see {self.folder}") from None

    def _job(self, run: Run) -> RunJob:
        plan, chosen = self.plan, self.plan.execution
        execution = Execution(
            results=chosen.results if plan.store.remote else plan.store.path.resolve().parent,
            device=plan.device,
            backend="local",
            jobs=1,
            step_mode=chosen.step_mode,
            recompute=chosen.recompute,
            data_dir=chosen.data_dir and chosen.data_dir.resolve(),
            stall_timeout=chosen.stall_timeout,
        )
        return RunJob(
            study=plan.study,
            run=run,
            execution=execution,
            threads=plan.threads,
            data_hash=plan.data_hash,
            events=self.folder / f"{run.run_id}.events",
        )

    def _watch(self) -> None:
        """Show what has happened since the last call."""
        now = time.monotonic()
        if now - self._read_at < (READ_SECONDS_LOCAL if self.is_local else READ_SECONDS):
            return
        self._read_at = now
        states = self._states(self.watched)  # before the events: a job writes them before it ends
        for watched in list(self.watched):
            self._show_events(watched)
            if self._has_ended(watched, states[watched.run.run_id]):
                self.watched.remove(watched)
                self.ending.append(watched)

    def _states(self, watched: Sequence[_Watched]) -> dict[str, str]:
        """Return the state of each job by run id. Slurm is asked for all at once."""
        if self.is_local:
            return {one.run.run_id: one.job.state for one in watched}
        wait = STATE_SECONDS if self.watched and self.stopped_at is None else STATE_SECONDS_ENDING
        mode = "cache"
        if time.monotonic() - self._asked_at > wait:
            self._asked_at, mode = time.monotonic(), "force"
        states = {}
        for one in watched:
            states[one.run.run_id] = one.job.watcher.get_state(one.job.job_id, mode)
            mode = "cache"
        return states

    def _show_events(self, watched: _Watched) -> None:
        for event in watched.events.read():
            if isinstance(event, RunEnded):
                watched.end = event
                continue
            if isinstance(event, RunStarted):
                watched.has_started, watched.end = True, None
            self.display.show(event)

    def _has_ended(self, watched: _Watched, state: str) -> bool:
        """Show the end of a run. Return whether its job no longer needs to be watched."""
        end, now = watched.end, time.monotonic()
        if end is not None and (end.status != "interrupted" or self.stopped_at is not None):
            self._show_end(watched, end)
            return True
        is_final = not _is_active(state)
        if self.stopped_at is not None and now - self.stopped_at > STOP_SECONDS:
            self._cancel([watched])
            is_final = True
        watched.gone_since = (watched.gone_since or now) if is_final else None
        if watched.gone_since is None:
            return False
        store = self.plan.store.run(watched.run.run_id)
        if self.stopped_at is not None:
            if watched.has_started:
                self._show_end(watched, store_end(store, watched.run, "interrupted"))
            return True
        if not self.is_local and now - watched.gone_since < LATE_SECONDS:
            return False
        if end is None:
            reason = f"job {watched.job.job_id} ended with {state}; see {watched.job.paths.stderr}"
            end = store_end(store, watched.run, "failed", reason)
        self._show_end(watched, end)
        return True

    def _show_end(self, watched: _Watched, end: RunEnded) -> None:
        if not watched.has_started:
            self.display.show(RunStarted(watched.run))
        self.needs_logs |= not end.record.is_finished and self.stopped_at is None
        self.display.show(end)

    def _stop(self) -> None:
        """Make the runs in progress save their state, and cancel those that wait."""
        self.stopped_at = time.monotonic()
        self.display.show(Stopping())
        self.waiting.clear()
        started = [watched for watched in self.watched if watched.has_started]
        self._cancel([watched for watched in self.watched if not watched.has_started])
        if self.is_local:
            self._cancel(started)
        else:
            self._scancel("--signal=TERM", started)

    def _cancel(self, watched: Sequence[_Watched]) -> None:
        """Cancel jobs. A run in progress gets SIGTERM, and saves its state before Slurm kills it."""
        if not self.is_local:
            self._scancel("--quiet", watched)
            return
        for one in watched:
            if one.job.state == "RUNNING":  # its id is that of its process
                os.kill(int(one.job.job_id), signal.SIGTERM)

    def _scancel(self, option: str, watched: Sequence[_Watched]) -> None:
        if watched:
            ids = [one.job.job_id for one in watched]
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                subprocess.run(["scancel", option, *ids], check=False, capture_output=True, timeout=60)

    def _clean(self) -> None:
        """Remove the files of jobs. If a run failed, the logs are kept."""
        deadline = time.monotonic() + LATE_SECONDS
        while len(self.signals) < 2:  # jobs write to the folder until their end
            states = self._states(self.ending)
            self.ending = [one for one in self.ending if _is_active(states[one.run.run_id])]
            if not self.ending or time.monotonic() > deadline:
                break
            self.display.tick()
            time.sleep(READ_SECONDS_LOCAL if self.is_local else READ_SECONDS)
        if self.ending or self.watched:
            return
        if not self.needs_logs:
            shutil.rmtree(self.folder, ignore_errors=True)
            with contextlib.suppress(OSError):
                self.folder.parent.rmdir()  # unless it has logs of other commands
            records = (self.plan.store.run(run.run_id).read() for run in self.plan.study.runs())
            if all(record is not None and record.is_finished for record in records):
                shutil.rmtree(self.folder.parent, ignore_errors=True)  # left by commands that were killed
        for file in (*self.folder.glob("*.pkl"), *self.folder.glob("*.events")):
            file.unlink(missing_ok=True)


def _is_active(state: str) -> bool:
    """Return whether a job may still do something. Slurm adds words to some states: CANCELLED by 1000."""
    return state.partition(" ")[0] not in FINAL_STATES


@contextlib.contextmanager
def _ignored_ctrl_c() -> Iterator[None]:
    """Start processes that ignore the Ctrl-C of a terminal, which this process handles for them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
