"""The list of backends, which decide where runs train. No torch here."""

from depthbench.execution.backends.entry import BackendEntry
from depthbench.machine.launch import read_launch
from depthbench.registry import look_up

BACKENDS = {
    "local": BackendEntry(
        "depthbench.execution.backends.local:execute",
        "processes on this machine",
        prepare="depthbench.execution.lanes:choose_lanes",
    ),
    "ddp": BackendEntry(
        "depthbench.execution.backends.ddp:execute",
        "all processes of torchrun, together on each run",
        is_together=True,
    ),
    "ray": BackendEntry(
        "depthbench.execution.backends.ray:execute",
        "tasks of a Ray cluster",
        check="depthbench.execution.backends.ray:check",
        connect="depthbench.execution.backends.ray:connected",
        prepare="depthbench.execution.backends.ray:prepare",
        is_elsewhere=True,
    ),
    "slurm": BackendEntry(
        "depthbench.execution.backends.slurm:execute",
        "jobs of a Slurm cluster",
        check="depthbench.execution.backends.slurm:check",
        is_elsewhere=True,
    ),
}


def backend_of(name: str) -> BackendEntry:
    """Return the entry of a backend. `auto` stands for the one that suits how depthbench was started.

    Raises BadInput for an unknown name."""
    if name == "auto":
        name = "local" if read_launch().is_alone else "ddp"
    return look_up(BACKENDS, "backend", name)
