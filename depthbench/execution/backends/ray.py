"""The Ray backend: each run is a task of a Ray cluster (Moritz et al. 2018, arXiv:1712.05889).

Ray chooses the node of a run, keeps the images once on each node, and starts a run again on another node if
its node dies. The run then resumes from its last checkpoint."""

import atexit
import contextlib
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

import depthbench
from depthbench.data.files import Files
from depthbench.data.images import Images
from depthbench.data.load import default_data_dir, load_images
from depthbench.data.mapped import Mapped
from depthbench.data.settings import Data
from depthbench.errors import BadInput, Interrupted, one_line
from depthbench.events import Alive, Display, Event, Note, RunEnded, RunStarted, Stopping
from depthbench.execution import janitor
from depthbench.execution.backends.local import TICK, collect_signals
from depthbench.execution.ends import store_end
from depthbench.execution.messages import StartRun, Stop, WorkerSetup
from depthbench.execution.plan import Plan
from depthbench.execution.process import KEEP_MEMORY
from depthbench.execution.settings import Execution
from depthbench.execution.stalls import StallWatch
from depthbench.execution.worker import Worker
from depthbench.paths import URL
from depthbench.plugins.loading import Plugin, loaded
from depthbench.store.record import Status
from depthbench.store.remote import fetch_file
from depthbench.study.model import Run

DEATHS = 3  # a run has failed after its process or node died this often without progress in between
POLL_SECONDS = 0.5  # between two checks of a task whether it should stop
PROBE_SECONDS = 120.0  # for the answer of a node, whose first worker process may have to start
CONNECT_SECONDS = 5.0  # Ray itself waits for minutes, and then ends the process
SAME_VERSIONS = ("python", "torch", "torchvision", "numpy")  # with others, results differ in the last digits


def check(execution: Execution) -> None:
    """Raise BadInput if Ray is not installed or no cluster answers at the address."""
    _import_ray()
    if (address := _address_of(execution)) is not None:
        _check_address(address, "RAY_ADDRESS=" if execution.address is None else "--address ")


def prepare(plan: Plan, display: Display) -> Plan:
    """Connect to the cluster, and return the plan with the number of runs that it trains at once.

    Raises BadInput if that fails, or if its nodes lack something that runs need."""
    if not plan.todo:
        return plan
    is_ours = _connect(plan)
    try:
        return _with_capacity(plan, display, is_ours=is_ours)
    except BaseException:
        _disconnect()
        raise


def _with_capacity(plan: Plan, display: Display, *, is_ours: bool) -> Plan:
    """Return the plan with the number of runs that the cluster trains at once.

    is_ours: whether this process started the cluster, so that it will not grow."""
    import ray

    nodes = [node for node in ray.nodes() if node["Alive"]]
    slots = sum(_slots(node["Resources"], plan) for node in nodes)
    if not slots:
        gpus = f" and {_gpus(plan):g} GPUs (--gpus-per-run)" if _gpus(plan) else ""
        wanted = f"each run needs {plan.threads} cores (--cpus-per-run){gpus}"
        if is_ours:
            raise BadInput(
                f"{wanted}, but this machine has fewer; use smaller numbers, or --address of a cluster"
            )
        display.show(Note(f"{wanted}, but no node of the cluster has as many now; runs wait until one has"))
    _check_nodes(plan, nodes)
    jobs = max(1, min(plan.jobs, slots, len(plan.todo)))
    display.show(Note(f"Ray: {len(nodes)} node{'s'[: len(nodes) > 1]}, {jobs} run{'s'[: jobs > 1]} at once"))
    return replace(plan, jobs=jobs)


def execute(plan: Plan, display: Display) -> None:
    """Train `plan.todo` as tasks of the cluster that `prepare` connected to. See backend.Backend."""
    if not plan.todo:
        return
    signals: list[int] = []
    try:
        with collect_signals(signals):
            _StudyInProgress(plan, display, signals).finish()
    finally:
        _disconnect()
    if signals:
        raise Interrupted


# --- the cluster


_connected: list[contextlib.ExitStack] = []
"""What must be closed to leave the cluster. Empty if the caller had connected before."""


def _import_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read when Ray is imported
    os.environ.setdefault("RAY_worker_niceness", "0")  # a local cluster must not lower their priority
    try:
        import ray
    except ImportError:
        raise BadInput("--on ray needs Ray: pip install 'depthbench[ray]'") from None
    return ray


def _connect(plan: Plan) -> bool:
    """Connect to the cluster of --address or RAY_ADDRESS, or start one of this machine.

    Returns whether this process started it. If the caller has connected to a cluster, that one is used."""
    ray = _import_ray()
    from ray._private import worker

    if ray.is_initialized():
        return False
    with contextlib.suppress(AttributeError):  # Ray would print to stdout that a process has died
        worker.print_to_stdstream = lambda *args, **keywords: None
    address = _address_of(plan.execution)
    package = Path(depthbench.__file__).parent
    settings: dict[str, Any] = {
        "runtime_env": {"py_modules": [str(package)], "excludes": ["__pycache__"]},
        "log_to_driver": False,
        "logging_level": "CRITICAL",
    }
    stack = contextlib.ExitStack()
    if address is None:
        folder = _temporary_folder("ray")
        stack.enter_context(contextlib.closing(_Janitor(folder)))
        settings |= {"address": "local", "include_dashboard": False, "_temp_dir": folder}
    else:
        settings["address"] = address
    try:
        ray.init(**settings)
    except (OSError, RuntimeError, ValueError) as error:
        stack.close()
        raise BadInput(f"Ray cannot connect to {address or 'a new cluster'}: {one_line(error)}") from None
    stack.callback(ray.shutdown)
    _connected.append(stack)
    return address is None


class _Janitor:
    """Cleans up after a local cluster, even if this process is killed."""

    def __init__(self, folder: str):
        self._process = janitor.watch(folder)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def _disconnect() -> None:
    while _connected:
        _connected.pop().close()


def _address_of(execution: Execution) -> str | None:
    if execution.address is not None:
        return execution.address
    address = os.environ.get("RAY_ADDRESS")
    return None if address in ("", "local") else address  # Ray calls a new cluster of this machine local


def _check_address(address: str, source: str) -> None:
    """Raise BadInput if nothing listens at an address of the form HOST:PORT.

    source: what precedes the address where the user gave it."""
    leave_out = "unset it" if source.endswith("=") else "omit --address"
    host, colon, port = address.rpartition(":")
    if address == "auto":
        return
    if not colon or not port.isdecimal() or "/" in host:  # ray:// cannot tell which node this is
        raise BadInput(f"{source}{address}: use HOST:PORT, or auto for a cluster of this machine")
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except OSError as error:
        raise BadInput(
            f"{source}{address}: no cluster answers there ({error.strerror or error}); start one with "
            f"`ray start --head`, or {leave_out} to use this machine"
        ) from None


def _temporary_folder(purpose: str) -> str:
    """Return a new folder that is removed when this process ends.

    Also removes such folders of processes that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"depthbench-{purpose}-*"):
        process = folder.name.split("-")[2]
        if process.isdecimal() and not psutil.pid_exists(int(process)):
            shutil.rmtree(folder, ignore_errors=True)
    created = tempfile.mkdtemp(prefix=f"depthbench-{purpose}-{os.getpid()}-")
    atexit.register(shutil.rmtree, created, ignore_errors=True)
    return created


def _gpus(plan: Plan) -> float:
    return plan.execution.gpus_per_run or (1.0 if plan.device.startswith("cuda") else 0.0)


def _slots(resources: dict[str, float], plan: Plan) -> int:
    """Return how many runs a node trains at once."""
    slots = int(resources.get("CPU", 0) // plan.threads)
    if gpus := _gpus(plan):
        whole = resources.get("GPU", 0)
        slots = min(slots, int(whole * (1 // gpus) if gpus < 1 else whole // gpus))
    return slots


def _check_nodes(plan: Plan, nodes: list[dict[str, Any]]) -> None:
    """Raise BadInput if a node lacks what runs need. The node of this process has it."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = ray.get_runtime_context().get_node_id()
    probe = ray.remote(_problem_of_node)
    answers = {}
    for node in nodes:
        if node["NodeID"] != here:
            strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            of_node = probe.options(num_cpus=0, max_retries=0, scheduling_strategy=strategy)
            study_file = _on_every_node(plan.store.location) / "study.toml"
            answers[node["NodeManagerAddress"]] = of_node.remote(study_file, _versions())
    for address, answer in answers.items():
        try:
            problem = ray.get(answer, timeout=PROBE_SECONDS)
        except ray.exceptions.RayError as error:
            problem = f"cannot run depthbench ({one_line(error)})"
        if problem is not None:
            raise BadInput(f"node {address} of the cluster {problem}")


@cache
def _versions() -> dict[str, str]:
    """Return the versions that affect results, by package."""
    versions = {"python": ".".join(map(str, sys.version_info[:3]))}
    for package in SAME_VERSIONS[1:]:
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions


def _on_every_node(location: Path | URL) -> Path | URL:
    """Return the location of the results for other nodes: a full path or a URL."""
    return location if isinstance(location, URL) else location.absolute()


def _problem_of_node(study_file: Path | URL, versions: dict[str, str]) -> str | None:
    """Return what this node lacks, as the end of a sentence, or None."""
    own = _versions()
    for package, wanted in versions.items():
        if own.get(package) != wanted:
            has = own.get(package, "none")
            return f"has {package} {has}, not {wanted}; install the same version"
    if isinstance(study_file, URL):
        try:
            fetch_file(study_file)
        except BadInput as error:
            return f"cannot read the results: {error}"
    elif not study_file.exists():
        folder = study_file.parent
        return f"does not see {folder}; give --results a folder that all nodes share, or a URL"
    return None


# --- the submitting process


class Mailbox:
    """An actor that passes events from tasks to the submitting process, and tells tasks to stop."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._should_stop = False

    def put(self, event: Event) -> None:
        self._events.append(event)

    def take(self) -> list[Event]:
        """Return the events that have arrived since the last call."""
        events, self._events = self._events, []
        return events

    def stop(self) -> None:
        """Tell every task to save its run and end."""
        self._should_stop = True

    def should_stop(self) -> bool:
        return self._should_stop


@dataclass(frozen=True)
class Job:
    """What the tasks of a study share."""

    setup: WorkerSetup
    """Without plug-ins. A task writes those to files of its node first."""
    plugins: tuple[Plugin, ...]
    data: Data
    data_dir: Path
    """Where a node reads images that are not in the object store."""


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
    """A study in progress: the tasks that were submitted, and the runs that wait."""

    def __init__(self, plan: Plan, display: Display, signals: list[int]):
        import ray

        self.ray, self.plan, self.display, self.signals = ray, plan, display, signals
        self.waiting = deque(plan.todo)
        self.tasks: dict[Any, Run] = {}
        """Task -> its run, until the task has ended."""
        self.deaths: dict[str, _Deaths] = {}
        """The deaths of each run that has started, by run id."""
        self.ended: set[str] = set()
        self.watch = StallWatch(plan.execution.stall_timeout)
        self.is_stopping = False
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        self.mailbox: Any = ray.remote(Mailbox).options(num_cpus=0, scheduling_strategy=here).remote()
        self.images = ray.put(None if _stays_in_files(plan.data) else _in_memory(plan.data))
        self.job = ray.put(_job_of(plan))
        threads = {name: str(plan.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        self.task = ray.remote(train_one).options(
            num_cpus=plan.threads,
            num_gpus=_gpus(plan),
            max_retries=-1,  # _start limits them
            runtime_env={"env_vars": KEEP_MEMORY | threads},
        )

    def finish(self) -> None:
        """Train until nothing is left, or all runs have stopped after a signal."""
        try:
            while self.tasks or (self.waiting and not self.signals):
                self._handle_signals()
                self._submit()
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
        self.waiting.clear()
        self.mailbox.stop.remote()
        for task, run in self.tasks.items():
            if run.run_id not in self.deaths:
                self._cancel(task)

    def _submit(self) -> None:
        """Submit tasks: as many as --jobs says, or all, so that a cluster can grow with the demand."""
        most = self.plan.execution.jobs or len(self.plan.todo)
        while self.waiting and len(self.tasks) < most:
            run = self.waiting.popleft()
            directory = _on_every_node(self.plan.store.run(run.run_id).location)
            start = StartRun(run, directory, self.plan.mode_of(run))
            self.tasks[self.task.remote(self.job, self.images, start, self.mailbox)] = run

    def _see(self, event: Event) -> None:
        """Handle an event of a task."""
        run: Run = getattr(event, "run")  # noqa: B009 - every event of a task has one
        if run.run_id in self.ended:
            return  # from a process that was given up
        self.watch.see(event)
        if isinstance(event, RunStarted):
            self._start(run)
        elif isinstance(event, RunEnded):
            self._end(event)
        else:
            deaths = self.deaths[run.run_id]
            deaths.step = getattr(event, "step", deaths.step)
            self.display.show(event)

    def _start(self, run: Run) -> None:
        """Handle the start of a run. After too many deaths without progress, the run has failed."""
        has_died = run.run_id in self.deaths
        deaths = self.deaths.setdefault(run.run_id, _Deaths())
        self.watch.start(run.run_id)
        self.display.show(RunStarted(run))
        if not has_died:
            return
        deaths.count()
        if deaths.at_furthest < DEATHS:
            self.display.show(Note("its process or node died; the run starts again", run))
        else:
            times = f"{DEATHS} time{'s'[: DEATHS > 1]}"
            self._give_up(run, f"its process or node died {times} at step {deaths.furthest}")

    def _give_up(self, run: Run, reason: str) -> None:
        task = next(task for task, its_run in self.tasks.items() if its_run == run)
        self._cancel(task, force=True)
        self._store_end(run, "failed", reason)

    def _end(self, event: RunEnded) -> None:
        self.ended.add(event.run.run_id)
        self.watch.end(event.run.run_id)
        self.display.show(event)

    def _store_end(self, run: Run, status: Status, reason: str | None = None) -> None:
        """Store and show the end of a run whose process has died."""
        self._end(store_end(self.plan.store.run(run.run_id), run, status, reason))

    def _end_task(self, task: Any) -> None:
        """Handle the end of a task. If its run has not ended, its process has died."""
        run = self.tasks.pop(task)
        if run.run_id in self.ended:
            return
        try:
            self.ray.get(task)
        except self.ray.exceptions.TaskCancelledError:
            if run.run_id in self.deaths:
                self._store_end(run, "interrupted")
        except self.ray.exceptions.RayError as error:
            if self.is_stopping:
                self._store_end(run, "interrupted")
            else:
                self._store_end(run, "failed", one_line(getattr(error, "cause", None) or error))

    def _end_stalled_runs(self) -> None:
        for stall in self.watch.stalled():
            task, run = next((task, run) for task, run in self.tasks.items() if run.run_id == stall.run_id)
            self._cancel(task, force=True)
            if self.is_stopping:
                self._store_end(run, "interrupted")
            else:
                self._store_end(run, "failed", stall.reason)

    def _cancel(self, task: Any, force: bool = False) -> None:
        with contextlib.suppress(Exception):  # it has ended by itself
            self.ray.cancel(task, force=force)


def _stays_in_files(images: Images) -> bool:
    """Return whether runs read images from files while they train."""
    return any(isinstance(x, Files) for x in images.pixels)


def _in_memory(images: Images) -> Images:
    """Return `images` with every memory-mapped file as an array, because other nodes do not have the file."""

    def array(x: Any) -> Any:
        return x[:] if isinstance(x, Mapped) else x

    return replace(
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


# --- a process of the cluster


_has_failed = False
"""Whether a run failed in this process, which can affect other runs in it."""


class _Line:
    """The connection of a worker in a Ray task to the submitting process. It starts one run."""

    def __init__(self, start: StartRun, mailbox: Any):
        self.messages = deque([start])
        self.run, self.mailbox = start.run, mailbox
        self.is_reading = False
        """Whether this process reads images, which is no stall, however long it takes."""
        self.has_ended = threading.Event()
        """Whether the run has ended, or should."""
        threading.Thread(target=self._watch, daemon=True).start()

    def send(self, event: Event, /) -> None:
        import ray

        delivery = self.mailbox.put.remote(event)
        if isinstance(event, RunEnded):
            ray.get(delivery)  # before the task ends
            self.has_ended.set()

    def recv(self) -> Any:
        if self.messages:
            return self.messages.popleft()
        self.has_ended.wait()
        return Stop()

    def poll(self) -> bool:
        return bool(self.messages) or self.has_ended.is_set()

    def _watch(self) -> None:
        """Check from time to time whether the run should stop, and say that reading images goes on."""
        import ray

        with contextlib.suppress(ray.exceptions.RayError):  # the submitting process has ended
            while not self.has_ended.wait(POLL_SECONDS):
                if ray.get(self.mailbox.should_stop.remote()):
                    self.has_ended.set()
                elif self.is_reading:
                    self.mailbox.put.remote(Alive(self.run, 0, 0.0))
        self.has_ended.set()


def train_one(job: Job, images: Images | None, start: StartRun, mailbox: Any) -> None:
    """Train one run in this process, and send its events to the mailbox.

    images: None if they stay in files, which this node then reads."""
    global _has_failed
    if _has_failed:
        os._exit(1)  # Ray starts the task again in another process
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C can reach this process too, but the parent decides
    line = _Line(start, mailbox)
    line.send(RunStarted(start.run))

    def read() -> Images:
        if images is not None:
            return images
        line.is_reading = True
        try:
            return _images_here(job)
        finally:
            line.is_reading = False

    with _plugin_files(job.plugins) as plugins:
        worker = Worker(line, replace(job.setup, plugins=plugins), read)
        worker.serve()
    _has_failed = worker.inbox.has_failed


_plugin_folder = cache(_temporary_folder)
"""The folder of this process. A plug-in counts as loaded only at the path from which it was loaded."""


@contextlib.contextmanager
def _plugin_files(plugins: tuple[Plugin, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the paths of files of this node with the plug-ins. They are the same for each run of a process.

    The files are removed after the run, because Ray ends its processes without their exit handlers."""
    if not plugins:
        yield ()
        return
    folder = Path(_plugin_folder("plugins"))
    folder.mkdir(mode=0o700, exist_ok=True)  # the run before has removed it
    try:
        yield tuple(str(plugin.write(folder / str(number))) for number, plugin in enumerate(plugins))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _images_here(job: Job) -> Images:
    """Return the images as this node reads them. Raises BadInput if they differ from those of the plan."""
    images = load_images(job.data, job.data_dir)
    if images.content_hash() != job.setup.data_hash:
        raise BadInput(
            f"{job.data.path or job.data.name}: the images on {socket.gethostname()} differ from those of "
            "the machine that started the study; give every node the same ones"
        )
    return images
