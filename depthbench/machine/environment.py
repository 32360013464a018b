"""The machine and software of a run, as stored with it, and the cores that runs share."""

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthbench.machine.launch import thread_limit

if TYPE_CHECKING:
    import torch

IDLE_LOAD = 0.4  # load per core below which the machine counts as idle


@cache
def commit() -> str | None:
    """Return the commit of depthbench's checkout, with "-dirty" appended if it changed; None outside one."""
    folder = Path(__file__).parents[1]
    try:
        git = ["git", "-C", str(folder)]
        tracked = subprocess.run([*git, "ls-files", "--error-unmatch", __file__], capture_output=True)
        if tracked.returncode:
            return None
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        changes = subprocess.run(
            [*git, "status", "--porcelain", "."], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip() + ("-dirty" if changes.stdout.strip() else "")


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def busy() -> str | None:
    """Return a warning if the machine's load of the last minute was high, else None."""
    load, cores = os.getloadavg()[0], usable_cores()
    return f"the machine is busy (load {load:.1f} on {cores} cores)" if load >= IDLE_LOAD * cores else None


def cores_each(jobs: int) -> int:
    """Return the cores for each of `jobs` simultaneous runs, at most OMP_NUM_THREADS if a user sets that."""
    share = max(1, usable_cores() // jobs)
    return min(share, thread_limit() or share)


def cpu_name() -> str:
    """Return the processor's model and the widest vector instructions that torch uses: "AMD EPYC, AVX2".

    The instructions are included because different ones round differently."""
    import torch

    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    instructions = torch.backends.cpu.get_cpu_capability()
    return name if instructions == "DEFAULT" else f"{name}, {instructions}"


def describe_environment(device: "torch.device", threads: int) -> dict[str, Any]:
    """Return the versions, device and commit of this process, as run.json stores them."""
    import torch

    versions: dict[str, str | None] = {}
    for package in ("depthbench", "torch", "torchvision", "numpy"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    is_cuda = device.type == "cuda"
    return {
        "python": platform.python_version(),
        **versions,
        "platform": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name(device) if is_cuda else f"{device.type} ({cpu_name()})",
        "threads": threads,
        "commit": commit(),
    }
