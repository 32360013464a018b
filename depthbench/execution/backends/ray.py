"""The Ray backend: each run is a task of a Ray cluster (Moritz et al. 2018, arXiv:1712.05889).

Ray chooses the node of a run and keeps the images once on each node. If the process or node of a run dies,
its task fails, and another task resumes the run from its last checkpoint. Ray itself repeats no task, because
it does not say whether such a task runs or waits for a free node."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from depthbench.data.files import Files
from depthbench.data.labelled import Labelled
from depthbench.data.load import default_data_dir
from depthbench.data.mapped import Mapped
from depthbench.errors import BadInput, Interrupted, one_line
from depthbench.events import Display, Event, Note, RunEnded, RunStarted, RunWaiting, Stopping
from depthbench.execution.backends.local import TICK, collect_signals
from depthbench.execution.ends import store_end
from depthbench.execution.messages import StartRun, WorkerSetup
from depthbench.execution.plan import Plan
from depthbench.execution.process import KEEP_MEMORY
from depthbench.execution.ray_cluster import (
    address_of,
    check_address,
    check_nodes,
    gpus_of,
    import_ray,
    is_own,
    nodes,
    on_every_node,
    slots,
)
from depthbench.execution.ray_cluster import connected as connected_to
from depthbench.execution.ray_task import Job, Mailbox, Taken, train_one
from depthbench.execution.settings import Execution
from depthbench.execution.stalls import StallWatch
from depthbench.plugins.loading import loaded
from depthbench.store.record import Status
from depthbench.study.model import Run

DEATHS = 3  # a run has failed after its process or node died this often without progress in between


def check(execution: Execution) -> None:
    """Raise BadInput if Ray is not installed or no cluster answers at the address."""
    import_ray()
    if (address := address_of(execution)) is not None:
        check_address(address, "RAY_ADDRESS=" if execution.address is None else "--address ")


@contextlib.contextmanager
def connected(plan: Plan) -> Iterator[None]:
    """Connect to the cluster. Raises BadInput if that fails, or if it can never train the plan."""
    with connected_to(plan.execution):
        if is_own() and not slots(plan):
            raise BadInput(
                f"{_wanted(plan)}, but this machine has fewer; use smaller numbers, or --address of a cluster"
            )
        yield


def _wanted(plan: Plan) -> str:
    gpus = f" and {gpus_of(plan):g} GPUs (--gpus-per-run)" if gpus_of(plan) else ""
    return f"each run needs {plan.threads} cores (--cpus-per-run){gpus}"


def prepare(plan: Plan, display: Display) -> Plan:
    """Return the plan with the number of runs that the connected cluster trains at once.

    Raises BadInput if its nodes lack something that runs need."""
    if not plan.todo:
        return plan
    at_once, of_cluster = slots(plan), len(nodes())
    if not at_once:
        waits = "no node of the cluster has as many now; runs wait until one has"
        display.show(Note(f"{_wanted(plan)}, but {waits}"))
    check_nodes(plan)
    jobs = max(1, min(plan.jobs, at_once, len(plan.todo)))
    display.show(Note(f"Ray: {of_cluster} node{'s'[: of_cluster > 1]}, {jobs} run{'s'[: jobs > 1]} at once"))
    return replace(plan, jobs=jobs)


def execute(plan: Plan, display: Display) -> None:
    """Train `plan.todo` as tasks of the connected cluster. See backend.Backend."""
    if not plan.todo:
        return
    signals: list[int] = []
    with collect_signals(signals):
        _StudyInProgress(plan, display, signals).finish()
    if signals:
        raise Interrupted


@dataclass
class _Deaths:
    """How often the process or node that trained a run died."""

    step: int = 0
    """The last step that was seen."""
    furthest: int = -1
    """The furthest step at which the run died before."""
    at_furthest: int = 0
    """The number of deaths since the run last got further than before."""

    def count(self) -> None:
        """Count a death at `step`."""
        self.at_furthest = self.at_furthest + 1 if self.step <= self.furthest else 1
        self.furthest = max(self.furthest, self.step)


class _StudyInProgress:
    """A study in progress: the tasks that were submitted, and the runs that they train.

    Every run that has not ended has a task, or as many as --jobs says have one. Which run a task trains is
    only known once it starts."""

    def __init__(self, plan: Plan, display: Display, signals: list[int]):
        import ray

        self.ray, self.plan, self.display, self.signals = ray, plan, display, signals
        self.tasks: dict[Any, int] = {}
        """Task -> its number, until the task has ended."""
        self.numbers = count()
        self.training: dict[int, Run] = {}
        """The number of a task -> the run that it trains, from its start until the task has ended."""
        self.interrupted: dict[str, Run] = {}
        """The runs that wait to start again after a death, by run id."""
        self.deaths: dict[str, _Deaths] = {}
        """The deaths of each run that has started, by run id."""
        self.ended: set[str] = set()
        self.watch = StallWatch(plan.execution.stall_timeout)
        self.is_stopping = False
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        actor = ray.remote(Mailbox).options(num_cpus=0, scheduling_strategy=here)
        self.mailbox: Any = actor.remote([self._start_of(run) for run in plan.todo])
        self.images = ray.put(None if _stays_in_files(plan.data) else _in_memory(plan.data))
        self.job = ray.put(_job_of(plan))
        threads = {name: str(plan.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        self.task = ray.remote(train_one).options(
            num_cpus=plan.threads,
            num_gpus=gpus_of(plan),
            max_retries=0,  # _wait_again lets a run start again
            runtime_env={"env_vars": KEEP_MEMORY | threads},
        )

    def finish(self) -> None:
        """Train until nothing is left, or all runs have stopped after a signal."""
        try:
            self._submit()
            while self.tasks:
                self._handle_signals()
                waited_since = time.monotonic()
                ended, _ = self.ray.wait(list(self.tasks), num_returns=len(self.tasks), timeout=TICK)
                self.watch.forgive(max(0.0, time.monotonic() - waited_since - TICK))
                for event in self.ray.get(self.mailbox.take.remote()):
                    self._see(event)
                for task in ended:
                    self._end_task(task)
                self._end_stalled_runs()
                self.display.tick()
                if len(self.signals) > 1:
                    break
                self._submit()
            for run in list(self.interrupted.values()):
                self._store_end(run, "interrupted")
        finally:
            for task in self.tasks:
                self._cancel(task, force=True)
            self.ray.kill(self.mailbox)

    def _handle_signals(self) -> None:
        """Stop all runs after the first signal."""
        if not self.signals or self.is_stopping:
            return
        self.is_stopping = True
        self.display.show(Stopping())
        self.watch.stop()
        self.mailbox.stop.remote()
        for task, number in self.tasks.items():
            if number not in self.training:
                self._cancel(task, force=True)  # its process may still be starting, and has nothing to save

    def _submit(self) -> None:
        """Submit tasks: as many as --jobs says, or all, so that a cluster can grow with the demand."""
        if self.signals:
            return
        left = len(self.plan.todo) - len(self.ended)
        while len(self.tasks) < min(left, self.plan.execution.jobs or left):
            number = next(self.numbers)
            self.tasks[self.task.remote(self.job, self.images, number, self.mailbox)] = number

    def _start_of(self, run: Run) -> StartRun:
        return StartRun(run, on_every_node(self.plan.store.run(run.run_id).location), self.plan.mode_of(run))

    def _see(self, event: Event | Taken) -> None:
        """Handle an event of a task."""
        run: Run = getattr(event, "run")  # noqa: B009 - every event of a task has one
        if run.run_id in self.ended:
            return  # from a process that was given up
        if isinstance(event, Taken):
            self._start(event)
            return
        self.watch.see(event)
        if isinstance(event, RunEnded):
            self._end(event)
        else:
            deaths = self.deaths[run.run_id]
            deaths.step = getattr(event, "step", deaths.step)
            self.display.show(event)

    def _start(self, taken: Taken) -> None:
        """Handle the start of a run."""
        run = taken.run
        if taken.task not in self.tasks.values():  # it died before the run arrived
            self.mailbox.put_back.remote(self._start_of(run))
            return
        self.training[taken.task] = run
        self.interrupted.pop(run.run_id, None)
        self.deaths.setdefault(run.run_id, _Deaths())
        self.watch.start(run.run_id)
        self.display.show(RunStarted(run))

    def _wait_again(self, run: Run, died: str) -> None:
        """Let a run start again before those that have not begun, after its process or node died.

        After too many deaths without progress, the run has failed."""
        deaths = self.deaths[run.run_id]
        deaths.count()
        if deaths.at_furthest >= DEATHS:
            times = f"{DEATHS} time{'s'[: DEATHS > 1]}"
            self._store_end(run, "failed", f"its process or node died {times} at step {deaths.furthest}")
            return
        self.watch.end(run.run_id)  # waiting is no stall
        self.interrupted[run.run_id] = run
        self.mailbox.put_back.remote(self._start_of(run))
        waits = "the run resumes from its last checkpoint, if it has one, when a node is free"
        self.display.show(Note(f"its {died} died; {waits}", run))
        self.display.show(RunWaiting(run))

    def _end(self, event: RunEnded) -> None:
        self.ended.add(event.run.run_id)
        self.interrupted.pop(event.run.run_id, None)
        self.watch.end(event.run.run_id)
        self.display.show(event)

    def _store_end(self, run: Run, status: Status, reason: str | None = None) -> None:
        """Store and show the end of a run whose process has died."""
        self._end(store_end(self.plan.store.run(run.run_id), run, status, reason))

    def _end_task(self, task: Any) -> None:
        """Handle the end of a task. If its run has not ended, its process has died."""
        number = self.tasks.pop(task)
        run = self.training.pop(number, None)
        if run is not None and run.run_id in self.ended:
            return
        try:
            self.ray.get(task)
        except self.ray.exceptions.RayError as error:
            died = _what_died(error)
            is_cancelled = isinstance(error, self.ray.exceptions.TaskCancelledError)
            if run is None and not (died or is_cancelled or self.is_stopping):
                run = self._run_of_failed_task(number)
            if run is None:
                return
            if is_cancelled or self.is_stopping:
                self._store_end(run, "interrupted")
            elif died:
                self._wait_again(run, died)
            else:
                self._store_end(run, "failed", one_line(getattr(error, "cause", None) or error))

    def _run_of_failed_task(self, number: int) -> Run | None:
        """Return the next run, for which a task has failed before it could take one, or None."""
        start: StartRun | None = self.ray.get(self.mailbox.take_run.remote(number))
        return None if start is None else start.run

    def _end_stalled_runs(self) -> None:
        for stall in self.watch.stalled():
            number, run = next(item for item in self.training.items() if item[1].run_id == stall.run_id)
            self._cancel(next(task for task in self.tasks if self.tasks[task] == number), force=True)
            if self.is_stopping:
                self._store_end(run, "interrupted")
            else:
                self._store_end(run, "failed", stall.reason)

    def _cancel(self, task: Any, force: bool = False) -> None:
        with contextlib.suppress(Exception):  # it has ended by itself
            self.ray.cancel(task, force=force)


def _what_died(error: Exception) -> str | None:
    """Return whether the node or only the process of a task died, or None if the task failed otherwise."""
    from ray.exceptions import LocalRayletDiedError, NodeDiedError, OutOfMemoryError, WorkerCrashedError

    if isinstance(error, NodeDiedError | LocalRayletDiedError):
        return "node"
    return "process" if isinstance(error, WorkerCrashedError | OutOfMemoryError) else None


def _stays_in_files(images: Labelled) -> bool:
    """Return whether runs read images from files while they train."""
    return any(isinstance(x, Files) for x in images.inputs)


def _in_memory(images: Labelled) -> Labelled:
    """Return `images` with every memory-mapped file as an array, because other nodes do not have the file."""

    def array(x: Any) -> Any:
        return x[:] if isinstance(x, Mapped) else x

    return replace(  # type: ignore[type-var]  # both kinds are dataclasses
        images, train_x=array(images.train_x), test_x=array(images.test_x), val_x=array(images.val_x)
    )


def _job_of(plan: Plan) -> Job:
    folder = plan.execution.data_dir or default_data_dir()
    return Job(
        setup=WorkerSetup((), plan.threads, plan.data_hash),
        plugins=tuple(filter(None, map(loaded, plan.study.plugins))),
        data=plan.study.data,
        data_dir=folder.absolute(),
    )
