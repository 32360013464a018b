"""The command `depthbench bench`: check, measure, compare, write."""

import contextlib
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console

from depthbench.bench import display, output
from depthbench.bench.arms import arms_on
from depthbench.bench.case import ENDLESS, Case
from depthbench.bench.check import DEEPEST, check_captured
from depthbench.bench.engines import (
    NETWORK,
    STEPS,
    compare_engines,
    engines_on,
    find_missing,
    measure_engines,
    write_engines,
)
from depthbench.bench.floor import Cost, step_cost
from depthbench.bench.measure import Session, measure
from depthbench.bench.ours import CADENCE
from depthbench.bench.ratios import ratios
from depthbench.bench.settings import Settings
from depthbench.console import say
from depthbench.errors import BadInput
from depthbench.machine.device import resolve_device
from depthbench.machine.environment import busy, cores_each, cpu_name, describe_environment, usable_cores
from depthbench.networks import NETWORKS
from depthbench.paths import expand
from depthbench.registry import look_up

MAX_JOBS = {"cpu": 8, "mps": 2, "cuda": 4}  # simultaneous jobs without --jobs
SECONDS = {"cpu": 3.0, "mps": 3.0, "cuda": 1.0}  # of a segment; a GPU is steadier and has more arms


def run_bench(settings: Settings, results: Path, console: Console) -> Path:
    """Measure, print the ratios and write all results. Returns the folder of this machine in `results`.

    Raises BadInput for a device that does not exist, and BenchFailed if a process dies or if the captured
    step of a GPU differs from the eager step."""
    device = resolve_device(settings.device)
    kind = device.partition(":")[0]
    if settings.precision == "tf32" and kind != "cuda":
        raise BadInput(f"--precision tf32 needs a CUDA device, not {device}: use fp32 or bf16")
    cores = usable_cores()
    jobs = settings.jobs or (min(cores, MAX_JOBS[kind]) if kind == "cpu" else MAX_JOBS[kind])
    seconds = settings.seconds or SECONDS[kind]
    arms = arms_on(
        device,
        settings.precision,
        cores=cores_each(1),
        max_jobs=jobs,
        conventional_threads=torch.get_num_threads(),
    )
    cases = settings.cases()
    machine = torch.cuda.get_device_name(device) if kind == "cuda" else cpu_name()
    folder = _make_folder(expand(results) / output.slug(machine, cores, settings.precision))
    replaces = " (replacing the stored ones)" if (folder / "bench.md").exists() else ""
    load = busy()
    for line in (
        f"{machine}, {cores} cores, on {device}; results: {folder}{replaces}",
        "This takes minutes, about 10 with the default options. Run nothing else meanwhile.",
        *([f"{load}, which affects the results"] if load else []),
    ):
        say(console, line)

    check = None
    if kind == "cuda":
        with console.status("comparing the captured step with the eager step"):
            case = replace(cases[0], depth=min(cases[0].depth, DEEPEST))
            check = check_captured(case.run({"every": 5}), case.images(), torch.device(device))
        say(console, f"the captured step agrees with the eager step: {check}")
    try:
        with display.showing(console) as show_progress:
            rows = measure(cases, arms, Session(device, cores, settings.repeats, seconds, show_progress))
    except BaseException:
        with contextlib.suppress(OSError):
            folder.rmdir()  # fails if it holds earlier results
        raise

    costs = {case.name: _cost(case) for case in cases}
    measured = ratios(rows, costs, {case.name: _probed(case) for case in cases})
    about = output.About(
        machine=machine,
        cores=cores,
        precision=settings.precision,
        command=settings.command(device, jobs, seconds),
        check=check,
        environment=describe_environment(torch.device(device), torch.get_num_threads()),
        floor=costs,
    )
    with console.status("drawing"):
        output.write(folder, rows, measured, about)
    console.print(display.ratio_table(output.ratios_shown(measured), f"{machine}, {settings.precision}"))
    if unsteady := output.unsteady(rows):
        say(console, unsteady)
    say(console, f"results: {folder}/bench.md, .csv, .json, .svg and .png")
    return folder


def run_engines(settings: Settings, results: Path, console: Console) -> Path:
    """Measure the overhead of engines, print it and write it to a folder. Returns the folder of this machine.

    Raises BadInput for a device other than a CPU or a folder that cannot be created, and BenchFailed if a
    study cannot be trained."""
    if resolve_device(settings.device) != "cpu":
        raise BadInput(
            f"--device {settings.device}: --engines compares processes on the cores of one machine; use cpu"
        )
    cores, machine = usable_cores(), cpu_name()
    engines = engines_on(cores)
    depth = (*settings.digits, *settings.depths)[0]
    folder = _make_folder(results / output.slug(machine, cores, "fp32"))
    study = f"{NETWORK}-{depth} on digits, {STEPS} steps"
    say(console, f"{machine}, {cores} cores; {study}; results: {folder}")
    for package in find_missing(engines):
        say(console, f"{package} is not installed, so it is not measured")
    if load := busy():
        say(console, f"{load}, which affects the results")
    engines = [engine for engine in engines if engine.is_available]
    try:
        with display.showing(console) as show_progress:
            timings = measure_engines(engines, depth, settings.repeats, show_progress)
    except BaseException:
        with contextlib.suppress(OSError):
            folder.rmdir()  # fails if it holds earlier results
        raise
    compared = compare_engines(timings, engines)
    about = {
        "machine": machine,
        "cores": cores,
        "command": f"depthbench bench --engines --digits {depth} --device cpu --repeats {settings.repeats}",
        "study": study,
        "environment": describe_environment(torch.device("cpu"), 1),
    }
    write_engines(folder, timings, compared, about)
    console.print(display.ratio_table(compared, f"{machine}, {study}"))
    say(console, f"results: {folder}/engines.md, .csv and .json")
    return folder


def _make_folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)  # fail now rather than after minutes of measuring
    except OSError as error:
        raise BadInput(f"{folder} cannot be created ({error.strerror}): use another --results DIR") from None
    return folder


def _cost(case: Case) -> Cost:
    network = look_up(NETWORKS, "network", case.run({}).network)(
        depth=case.depth, in_channels=case.image_shape[0], num_classes=10
    )
    return step_cost(network, case.image_shape, case.batch_size, 2 if case.precision == "bf16" else 4)


def _probed(case: Case) -> float:
    """Return the fraction of all steps that the default cadence probes."""
    run = case.run({}, CADENCE if case.digits else ENDLESS)
    return sum(run.is_probed(step) for step in range(run.steps)) / run.steps
