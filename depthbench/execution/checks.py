"""Checks of a study and its settings before any image is read. Each raises BadInput."""

import inspect
import os
from pathlib import Path

from depthbench.data import DATASETS
from depthbench.errors import BadInput, any_of
from depthbench.execution.backends import backend_of
from depthbench.execution.settings import Execution
from depthbench.machine.launch import read_launch
from depthbench.networks import NETWORKS
from depthbench.networks.task import IMAGES, NEXT_TOKENS, TOKENS, Task
from depthbench.paths import URL
from depthbench.plugins.loading import loaded
from depthbench.probes import PROBES
from depthbench.registry import Entry
from depthbench.store.remote import Remote
from depthbench.study.model import Study
from depthbench.training.mode import STEP_MODES
from depthbench.training.optimizers import OPTIMIZERS
from depthbench.training.settings import check_parts

NEEDED = {IMAGES: "read images", TOKENS: "classify sequences", NEXT_TOKENS: "predict the next token"}
"""Kind of task -> what a network must be able to do."""
CLUSTER_SETTINGS = ("address", "cpus_per_run", "gpus_per_run")


def check_settings(study: Study, execution: Execution, device: str) -> None:
    """Check that `device`, as resolved, can execute the study with these settings."""
    backend = backend_of(execution.backend)
    for key in CLUSTER_SETTINGS:
        if getattr(execution, key) is not None and not backend.is_elsewhere:
            name = key.replace("_", "-")
            raise BadInput(f"--{name} needs a cluster; add --on with the name of a backend, e.g. --on ray")
    if execution.slurm and execution.backend != "slurm":
        key, value = execution.slurm[0]
        raise BadInput(f"--slurm {key}={value} needs --on slurm")
    _check_together(study, execution)
    if backend.check is not None:
        Entry(backend.check)(execution)
    mode, on_cuda = execution.step_mode, device.startswith("cuda")
    if mode not in STEP_MODES:
        raise BadInput(f"--step {mode}: use {any_of(STEP_MODES)}")
    if mode == "compiled":
        for name in study.networks():
            if not study.family(name).fuses:
                raise BadInput(f"--step compiled: network {name!r} cannot be compiled; use captured")
    if mode in ("captured", "compiled") and not on_cuda:
        raise BadInput(f"--step {mode} needs a CUDA device, but the device is {device}; use auto or eager")
    precisions = {study.recipe_of(name).precision for name in study.networks()}
    if "tf32" in precisions and not on_cuda:
        raise BadInput(f"--precision tf32 needs a CUDA device, but the device is {device}; use fp32 or bf16")
    if execution.jobs is not None and execution.jobs < 1:
        raise BadInput(f"--jobs {execution.jobs}: use auto or a whole number of at least 1")


def check_measurable(execution: Execution) -> None:
    """Check that runs would train on this machine. The cost of others cannot be measured here."""
    if backend_of(execution.backend).is_elsewhere:
        raise BadInput(
            f"--on {execution.backend}: `depthbench plan` measures this machine only; run it without --on on "
            "a machine like those of the cluster"
        )


def _check_together(study: Study, execution: Execution) -> None:
    """Check that the settings suit the number of processes that torchrun started. Raises BadInput."""
    launch = read_launch()
    if not backend_of(execution.backend).is_together:
        if not launch.is_alone:
            raise BadInput(
                f"--on {execution.backend}: torchrun started {launch.size} processes, which train each run "
                "together; start depthbench without torchrun, or leave out --on"
            )
        return
    if launch.is_alone:
        raise BadInput(
            "--on ddp needs several processes: `torchrun --nproc-per-node N -m depthbench run ...`"
        )
    if execution.step_mode in ("captured", "compiled"):
        raise BadInput(
            f"--step {execution.step_mode}: several processes can only make eager steps; use auto or eager"
        )
    if execution.jobs not in (None, 1):
        raise BadInput(
            f"--jobs {execution.jobs}: the processes of torchrun train one run at a time; use auto"
        )
    if execution.device.partition(":")[2]:
        raise BadInput(f"--device {execution.device}: each process has a GPU of its own; use cuda")
    for name in study.networks():
        check_parts(study.recipe_of(name).batch_size, launch.size)


def check_builders(study: Study) -> None:
    """Check that each plug-in's builder accepts the options that the study sets.

    The bundled families accept every option that they list. Importing torch to confirm it would make each
    start slower."""
    for name in study.networks():
        family, chosen = study.family(name), study.options_of(name).model_dump(exclude_defaults=True)
        if family.is_ours:
            continue
        try:
            signature = inspect.signature(family.load())
            signature.bind(**{**family.options, **chosen, "depth": 1, "in_channels": 1, "num_classes": 2})
        except TypeError as error:
            arguments = ", ".join(f"{key}=..." for key in ("depth", "in_channels", "num_classes", *chosen))
            raise BadInput(
                f"network {name!r} cannot be built as {name}({arguments}): {error}; change its "
                "plug-in or the options"
            ) from None


def check_data(study: Study, task: Task) -> None:
    """Check that the data suit each network: their kind, their size, and the options of the network."""
    shape = task.shape
    for name in study.networks():
        family, smallest = study.family(name), study.family(name).smallest_side
        if task.reads not in family.reads:
            fitting = [other for other, each in NETWORKS.items() if each.is_ours and task.reads in each.reads]
            raise BadInput(
                f"network {name!r} cannot {NEEDED[task.reads]}, which {study.data.name} needs; "
                f"use {any_of(fitting if task.vocabulary else fitting[:2])}"
            )
        if task.reads == IMAGES and min(shape[1:]) < smallest:
            raise BadInput(
                f"network {name!r}: its stem and pooling leave nothing of images of {shape[1]}x{shape[2]} "
                f"pixels; use images of at least {smallest}x{smallest}, or a network for small images"
            )
        if problem := _problem_of(study, name, shape):
            raise BadInput(f"network {name!r}: {problem}")


def _problem_of(study: Study, network: str, shape: tuple[int, ...]) -> str:
    """Return why the options of a network and its inputs do not suit each other, or an empty text."""
    family = study.family(network)
    shallowest = family.depths.depth(1)
    if family.problem_of is None or shallowest is None:
        return ""
    return family.problem_of(family.settle(shallowest, study.options_of(network).model_dump()), shape)


def check_importable(study: Study) -> None:
    """Check that the processes that train can import the parts of the study that plug-ins can define.

    They import built-in entries, those of installed packages, and the plug-ins that the study names. A class
    of a notebook, of a script or of an interactive session exists in this process alone."""
    used: list[tuple[str, str, str, Entry]] = [
        ("network", "NETWORKS", name, study.family(name)) for name in study.networks()
    ]
    used += [("probe", "PROBES", name, PROBES[name]) for name in study.probe.names]
    for optimizer in {study.recipe_of(name).optimizer: None for name in study.networks()}:
        used.append(("optimizer", "OPTIMIZERS", optimizer, OPTIMIZERS[optimizer]))
    if study.data.path is None:
        used.append(("data set", "DATASETS", study.data.name, DATASETS[study.data.name]))
    for kind, attribute, name, entry in used:
        if entry.source:
            plugin = loaded(entry.origin)  # None for an installed package
            if plugin is not None and plugin not in map(loaded, study.plugins):
                raise BadInput(
                    f"{kind} {name!r}: the study does not name its plug-in, which the processes that train "
                    f"load too; add plugins=[{entry.origin!r}] to load_study"
                )
        elif not isinstance(entry.target, str) or entry.target.startswith("__main__:"):
            raise BadInput(
                f"{kind} {name!r} exists in this notebook or script only, and the processes that train "
                f"cannot import it; put it into a Python file with {attribute} = {{{name!r}: ...}}, and add "
                'plugins=["my_file.py"] to load_study (load_plugin makes its names known here)'
            )


def check_writable(path: Path | URL) -> None:
    """Check that the directory `path` can be created and written.

    Creates nothing, except for a file at a URL, which is deleted again."""
    if isinstance(path, URL):
        Remote(path).check_writable()
        return
    existing = path
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir():
        raise BadInput(f"results directory {path}: {existing} is a file; use another --results DIR")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise BadInput(f"results directory {path}: {existing} is not writable; use another --results DIR")
