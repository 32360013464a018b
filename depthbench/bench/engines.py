"""Measure the overhead of engines, each of which trains whole studies on this machine.

Times include the start of Python, of the engine and of its processes, because a user waits for them. Images
per second are those of training alone, from run.json."""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from depthbench.bench import BenchFailed
from depthbench.bench.ratios import spread
from depthbench.files import atomic, write_text
from depthbench.machine.parent import end_with_parent
from depthbench.report.tables.writing import markdown
from depthbench.store.results import load_results
from depthbench.store.study_store import StudyStore

STEPS = 180  # as in the quick study
RUNS_PER_CORE = 2  # so that processes that train several runs start once
NETWORK = "resnet"
TABLES = ("history", "layers", "predictions")
HOW_TO_READ = """\
Each engine trains the same runs as the local execution that it is compared with, on the cores of this
machine. Every process has one thread, but *one run, local* uses all cores. The engines are measured
alternately. Ratios to local execution are taken within a repeat and shown as median (lowest to highest).
*Time of the study* is the time of the whole command, including the start of Python and of the engine.
*Seconds more* is the median difference of these times. The start is a part of it that does not grow with the
length of the runs. *Images per second* is the rate of training alone (median over the runs). *Same results*
says whether every table of every run equals that of local execution, byte for byte. With several processes
for one run (DDP) they differ, because each batch is divided and sums are rounded differently."""

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Engine:
    """A way to train the runs of a study."""

    name: str
    over: str
    """The engine that it is compared with."""
    commands: tuple[tuple[str, ...], ...]
    """Commands that start at the same time, without the study and the results directory."""
    seeds: int
    """The number of runs."""
    package: str | None = None
    """A package that the engine needs, apart from those of depthbench."""

    @property
    def is_available(self) -> bool:
        """Whether the engine is installed."""
        return self.package is None or find_spec(self.package) is not None


@dataclass(frozen=True)
class Timing:
    """One study, trained once by one engine: a row of engines.csv."""

    engine: str
    repeat: int
    seconds: float
    images_per_second: float
    """Median over the runs."""
    tables: str
    """SHA-256 of all tables of all runs."""


def engines_on(cores: int) -> list[Engine]:
    """Return the engines to measure, and the local executions that they are compared with."""
    python = (sys.executable, "-m")
    run, many = (*python, "depthbench", "run"), RUNS_PER_CORE * cores
    shards = tuple((*run, "--jobs", "1", "--shard", f"{i}/{cores}") for i in range(1, cores + 1))
    torchrun = (*python, "torch.distributed.run", "--standalone", "--nproc-per-node", str(cores), *run[1:])
    return [
        Engine("local", "local", ((*run, "--jobs", str(cores)),), many),
        Engine("ray", "local", ((*run, "--on", "ray"),), many, package="ray"),
        Engine(f"{cores} shards", "local", shards, many),
        Engine("one run, local", "one run, local", ((*run, "--jobs", "1"),), 1),
        Engine(f"one run, {cores} processes (DDP)", "one run, local", (torchrun,), 1),
    ]


def measure_engines(
    engines: list[Engine], depth: int, repeats: int, progress: Progress, *, steps: int = STEPS
) -> pd.DataFrame:
    """Train a study with each engine alternately, `repeats` times. Returns a row for each `Timing`.

    Raises BenchFailed if a command fails."""
    timings: list[Timing] = []
    for repeat in range(repeats):
        shift = repeat % len(engines)
        for engine in engines[shift:] + engines[:shift]:
            what = f"repeat {repeat + 1} of {repeats}: {engine.name}"
            progress(len(timings) / (repeats * len(engines)), what)
            with tempfile.TemporaryDirectory(prefix="depthbench-engines-") as folder:
                timings.append(_time(engine, _study(depth, engine.seeds, steps), Path(folder), repeat))
    return pd.DataFrame([asdict(timing) for timing in timings])


def _study(depth: int, seeds: int, steps: int) -> tuple[str, ...]:
    study = ("quick", "--networks", NETWORK, "--depths", str(depth), "--seeds", str(seeds))
    return (*study, "--steps", str(steps), "--device", "cpu", "--no-report", "--quiet")


def _time(engine: Engine, study: tuple[str, ...], folder: Path, repeat: int) -> Timing:
    # One thread in every process. Without this variable, torchrun sets it, and depthbench then ignores it.
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    if engine.name == "one run, local":
        del environment["OMP_NUM_THREADS"]  # as many threads as the other engine has processes
    began = time.monotonic()
    processes = [
        subprocess.Popen(
            [*command, *study, "--results", str(folder)],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=partial(end_with_parent, 0.0, os.getpid()),
        )
        for command in engine.commands
    ]
    try:
        messages = [process.communicate()[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    seconds = time.monotonic() - began
    if any(process.returncode for process in processes):
        reason = " ".join(line for message in messages for line in message.splitlines()[-1:])
        raise BenchFailed(f"the engine {engine.name} failed: {reason}")
    path = folder / "quick"
    runs = load_results(path).runs
    return Timing(
        engine=engine.name,
        repeat=repeat,
        seconds=seconds,
        images_per_second=float(runs["images_per_second"].median()),
        tables=_hash_of_tables(path),
    )


def _hash_of_tables(path: Path) -> str:
    digest = hashlib.sha256()
    for store in StudyStore(path).run_stores():
        for name in TABLES:
            digest.update((store.path / f"{name}.parquet").read_bytes())
    return digest.hexdigest()


def compare_engines(timings: pd.DataFrame, engines: list[Engine]) -> pd.DataFrame:
    """Return the ratios of each engine to local execution, as rows of text. Local execution has no row."""
    by_engine = {str(name): rows.set_index("repeat") for name, rows in timings.groupby("engine")}
    rows = []
    for engine in engines:
        if engine.name == engine.over:
            continue
        own, base = by_engine[engine.name], by_engine[engine.over]
        time_ratio = spread(own["seconds"] / base["seconds"])
        rate_ratio = spread(own["images_per_second"] / base["images_per_second"])
        more = (own["seconds"] - base["seconds"]).median()
        rows.append(
            {
                "engine": engine.name,
                "compared with": f"{engine.over} ({base['seconds'].median():.1f} s)",
                "time of the study": _shown(*time_ratio[:3], "{:.2f}"),
                "seconds more": f"{more:+.1f}",
                "images per second": _shown(*rate_ratio[:3], "{:.2f}"),
                "same results": "yes" if (own["tables"] == base["tables"]).all() else "no",
            }
        )
    return pd.DataFrame(rows)


def _shown(median: float, low: float, high: float, form: str) -> str:
    return f"{form.format(median)} ({form.format(low)} to {form.format(high)})"


def write_engines(folder: Path, timings: pd.DataFrame, compared: pd.DataFrame, about: dict[str, Any]) -> None:
    """Write engines.csv, engines.json and engines.md.

    about: machine, cores, command, study and environment."""
    with atomic(folder / "engines.csv") as temporary:
        timings.to_csv(temporary, index=False, float_format="%.6g")
    write_text(folder / "engines.json", json.dumps(about, indent=1) + "\n")
    environment = about["environment"]
    versions = ", ".join(f"{key} {environment[key]}" for key in ("depthbench", "python", "torch"))
    facts = [
        f"Machine: {about['machine']}, {about['cores']} cores",
        f"Versions: {versions}; commit {environment['commit']}",
        f"Command: `{about['command']}`",
        f"Study: {about['study']}",
    ]
    page = [
        f"# Overhead of engines on {about['machine']}",
        "\n".join(f"- {fact}" for fact in facts),
        HOW_TO_READ,
        markdown(compared),
    ]
    write_text(folder / "engines.md", "\n\n".join(page))


def find_missing(engines: list[Engine]) -> list[str]:
    """Return the packages of engines that are not installed."""
    return [engine.package for engine in engines if engine.package and not engine.is_available]
