"""Where a run was made: versions, device, commit. It is stored with every run."""

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

IDLE = 0.4  # load a core below which the machine is taken to be ours


@cache
def commit() -> str | None:
    """The commit of depthbench's own checkout, "-dirty" where it was changed; None outside a checkout."""
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
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def busy() -> str | None:
    """What to say where others have used the machine in the last minute."""
    load, cores = os.getloadavg()[0], usable_cores()
    return f"the machine is busy (load {load:.1f} on {cores} cores)" if load >= IDLE * cores else None


def cores_each(jobs: int) -> int:
    """The share of the usable cores that each of `jobs` runs at once has; no more than OMP_NUM_THREADS, where
    that is set."""
    most = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    share = max(1, usable_cores() // jobs)
    return min(share, int(most)) if most.isdecimal() and int(most) else share


def cpu_name() -> str:
    """The processor's model name, where the system tells it, and the widest instructions that torch's own
    kernels use on it, since others round differently: "AMD EPYC, AVX2"."""
    import torch

    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    instructions = torch.backends.cpu.get_cpu_capability()
    return name if instructions == "DEFAULT" else f"{name}, {instructions}"


def describe_environment(device, threads: int) -> dict:
    """Versions, device and commit of this process, as run.json stores them."""
    import torch

    versions = {}
    for package in ("depthbench", "torch", "torchvision", "numpy"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    on_gpu = device.type == "cuda"
    return {
        "python": platform.python_version(),
        **versions,
        "platform": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name(device) if on_gpu else f"{device.type} ({cpu_name()})",
        "threads": threads,
        "commit": commit(),
    }
