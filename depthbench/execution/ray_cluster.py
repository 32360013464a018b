"""A Ray cluster as the backend sees it: connecting to it, its capacity, and what its nodes lack."""

import atexit
import contextlib
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

import depthbench
from depthbench.errors import BadInput, one_line
from depthbench.execution import janitor
from depthbench.execution.plan import Plan
from depthbench.execution.settings import Execution
from depthbench.paths import URL
from depthbench.store.remote import fetch_file

PROBE_SECONDS = 120.0  # for the answer of a node, whose first worker process may have to start
CONNECT_SECONDS = 5.0  # Ray itself waits for minutes, and then ends the process
SAME_VERSIONS = ("python", "torch", "torchvision", "numpy")  # with others, results differ in the last digits


def import_ray() -> Any:
    """Return the module ray. Raises BadInput if it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read when Ray is imported
    os.environ.setdefault("RAY_worker_niceness", "0")  # a local cluster must not lower their priority
    try:
        import ray
    except ImportError:
        raise BadInput("--on ray needs Ray: pip install 'depthbench[ray]'") from None
    return ray


_own: list[str] = []
"""The folder of the cluster that this process has started and is connected to."""


@contextlib.contextmanager
def connected(execution: Execution) -> Iterator[None]:
    """Connect to the cluster of --address or RAY_ADDRESS, or start one on this machine.

    Disconnects at the end. If this process is connected to a cluster already, that one is used. Raises
    BadInput if this fails."""
    ray = import_ray()
    if ray.is_initialized():
        yield
        return
    with contextlib.ExitStack() as stack:
        _connect(ray, address_of(execution), stack)
        yield


def is_own() -> bool:
    """Return whether this process has started the connected cluster, so that it does not grow."""
    return bool(_own)


def _connect(ray: Any, address: str | None, stack: contextlib.ExitStack) -> None:
    """Connect to the cluster at `address`, or start one if it is None. Closing `stack` undoes that."""
    from ray._private import worker

    with contextlib.suppress(AttributeError):  # Ray would print to stdout that a process has died
        worker.print_to_stdstream = lambda *args, **keywords: None
    package = Path(depthbench.__file__).parent
    settings: dict[str, Any] = {
        "runtime_env": {"py_modules": [str(package)], "excludes": ["__pycache__"]},
        "log_to_driver": False,
        "logging_level": "CRITICAL",
    }
    if address is None:
        folder = temporary_folder("ray")
        stack.enter_context(contextlib.closing(_Janitor(folder)))
        _own.append(folder)
        stack.callback(_own.clear)
        settings |= {"address": "local", "include_dashboard": False, "_temp_dir": folder}
    else:
        settings["address"] = address
    try:
        ray.init(**settings)
    except (OSError, RuntimeError, ValueError) as error:
        raise BadInput(f"Ray cannot connect to {address or 'a new cluster'}: {one_line(error)}") from None
    stack.callback(ray.shutdown)


class _Janitor:
    """Cleans up after a local cluster, even if this process is killed."""

    def __init__(self, folder: str):
        self._process = janitor.watch(folder)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def address_of(execution: Execution) -> str | None:
    """Return the address of the cluster to use, or None to start one of this machine."""
    if execution.address is not None:
        return execution.address
    address = os.environ.get("RAY_ADDRESS")
    return None if address in ("", "local") else address  # Ray calls a new cluster of this machine local


def check_address(address: str, source: str) -> None:
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


def temporary_folder(purpose: str) -> str:
    """Return a new folder that is removed when this process ends.

    Also removes such folders of processes that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"depthbench-{purpose}-*"):
        process = folder.name.split("-")[2]
        if process.isdecimal() and not psutil.pid_exists(int(process)):
            shutil.rmtree(folder, ignore_errors=True)
    created = tempfile.mkdtemp(prefix=f"depthbench-{purpose}-{os.getpid()}-")
    atexit.register(shutil.rmtree, created, ignore_errors=True)
    return created


def gpus_of(plan: Plan) -> float:
    """Return the GPUs, or the part of one, that a run gets."""
    return plan.execution.gpus_per_run or (1.0 if plan.device.startswith("cuda") else 0.0)


def slots_of(resources: dict[str, float], plan: Plan) -> int:
    """Return how many runs a node trains at once."""
    slots = int(resources.get("CPU", 0) // plan.threads)
    if gpus := gpus_of(plan):
        whole = resources.get("GPU", 0)
        slots = min(slots, int(whole * (1 // gpus) if gpus < 1 else whole // gpus))
    return slots


def slots(plan: Plan) -> int:
    """Return how many runs the nodes of the connected cluster train at once."""
    return sum(slots_of(node["Resources"], plan) for node in nodes())


def nodes() -> list[dict[str, Any]]:
    """Return what Ray knows about each live node of the connected cluster."""
    import ray

    return [node for node in ray.nodes() if node["Alive"]]


def check_nodes(plan: Plan) -> None:
    """Raise BadInput if a node lacks what runs need. The node of this process has it."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = ray.get_runtime_context().get_node_id()
    probe = ray.remote(problem_of_node)
    answers = {}
    for node in nodes():
        if node["NodeID"] != here:
            strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            of_node = probe.options(num_cpus=0, max_retries=0, scheduling_strategy=strategy)
            study_file = on_every_node(plan.store.location) / "study.toml"
            answers[node["NodeManagerAddress"]] = of_node.remote(study_file, own_versions())
    for address, answer in answers.items():
        try:
            problem = ray.get(answer, timeout=PROBE_SECONDS)
        except ray.exceptions.GetTimeoutError:
            raise BadInput(
                f"node {address} of the cluster did not answer within {PROBE_SECONDS:g} seconds: it may be "
                "busy or gone; try again, or remove it from the cluster"
            ) from None
        except ray.exceptions.RayError as error:
            problem = f"cannot run depthbench ({one_line(error)})"
        if problem is not None:
            raise BadInput(f"node {address} of the cluster {problem}")


@cache
def own_versions() -> dict[str, str]:
    """Return the versions that affect results, by package."""
    versions = {"python": ".".join(map(str, sys.version_info[:3]))}
    for package in SAME_VERSIONS[1:]:
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions


def on_every_node(location: Path | URL) -> Path | URL:
    """Return the location of the results for other nodes: a full path or a URL."""
    return location if isinstance(location, URL) else location.absolute()


def problem_of_node(study_file: Path | URL, versions: dict[str, str]) -> str | None:
    """Return what this node lacks, as the end of a sentence, or None."""
    own = own_versions()
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
