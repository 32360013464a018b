"""Write the results of a benchmark: bench.csv, bench.md, bench.json, bench.svg and bench.png."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from depthbench.bench import figure
from depthbench.bench.check import Difference
from depthbench.bench.floor import Cost
from depthbench.bench.ratios import FRACTION, SPEED, TIME, spread
from depthbench.files import atomic, write_text
from depthbench.report.style import canvas, saving
from depthbench.report.tables.writing import markdown

WORDS = {SPEED: "images per second", TIME: "time per step", FRACTION: "fraction of the ceiling"}
FORMATS = {SPEED: (1, 2, ""), TIME: (1, 3, ""), FRACTION: (100, 1, " %")}  # factor, decimals and unit in text
UNSTEADY = 2  # ratio of the fastest to the slowest; an idle machine never drifts as much
HOW_TO_READ = """\
All configurations of a case are timed alternately in every repeat, and each ratio is taken within a repeat.
The spread is the range of n ratios, or of their middle half if n is 8 or more. The *conventional* loop makes
its images one by one in worker processes, as popular repositories do, and fetches its loss at every step.
Alone, it has as many threads as torch uses by default. The *ceiling* is the speed of a large matrix product
and a large copy at the same precision, jobs and threads. On a CPU, the product is the faster of BLAS and
oneDNN. The fraction of the ceiling is the floor time of a step divided by the measured time. The floor time
is the longer of operations divided by their rate and bytes divided by their bandwidth
(depthbench/bench/floor.py). *watch* is a training loop in plain, eager PyTorch, with and without
`depthbench.watch`. The cost of default probes is *measured* in whole runs of the digits study.
Otherwise it is *computed* from the fraction of steps that are probed and the cost of a probed step."""


@dataclass(frozen=True)
class About:
    """The machine, the command and the checks of a benchmark. Stored in bench.json."""

    machine: str
    cores: int
    precision: str
    command: str
    check: Difference | None  # of the captured step of a GPU
    environment: Mapping[str, Any]
    floor: Mapping[str, Cost]  # the cost of a step, by case


def slug(machine: str, cores: int, precision: str) -> str:
    """Return a folder's name, e.g. `amd-epyc-avx2-2-cores`. It ends with a precision other than fp32."""
    name = re.sub(r"[^a-z0-9]+", "-", machine.lower()).strip("-")
    return f"{name}-{cores}-core{'s'[: cores > 1]}" + (f"-{precision}" if precision != "fp32" else "")


def write(folder: Path, rows: pd.DataFrame, ratios: pd.DataFrame, about: About) -> None:
    """Write all files."""
    with atomic(folder / "bench.csv") as temporary:
        rows.to_csv(temporary, index=False, float_format="%.8g")
    records = ratios.to_dict("records")
    write_text(folder / "bench.json", json.dumps(asdict(about) | {"ratios": records}, indent=1) + "\n")
    write_text(folder / "bench.md", _page(rows, ratios, about))
    cores = f"{about.cores} core{'s'[: about.cores > 1]}"
    title = f"Training speed on {about.machine}, {cores}, {about.precision}"
    with canvas.styled():
        saving.save(figure.draw(rows, ratios, title), folder / "bench", (".svg", ".png"))


def ratios_shown(ratios: pd.DataFrame) -> pd.DataFrame:
    """Return the ratios as text for people."""
    rows = []
    for row in ratios.to_dict("records"):
        factor, digits, unit = FORMATS[row["of"]]
        median, low, high = (f"{factor * row[key]:.{digits}f}{unit}" for key in ("median", "low", "high"))
        over = f" / {row['over']}" if row["over"] else ""
        rows.append(
            {
                "case": row["case"],
                "ratio": f"{WORDS[row['of']]}: {row['arm']}{over}",
                "median": median,
                "spread": f"{low} to {high}" if row["n"] > 1 else "",
                "n": str(row["n"]),
                "how": row["how"],
            }
        )
    return pd.DataFrame(rows)


def _rates_shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Return images per second and the ceilings of each case, as text."""
    cells = []
    for (case, arm), of_arm in rows[rows["mode"] != "probes"].groupby(["case", "arm"], sort=False):
        unit = of_arm["unit"].iloc[0]
        size, name = {"operations": (1e9, "Gflop/s"), "bytes": (1e9, "GB/s")}.get(unit, (1, "images/s"))
        median, low, high, _ = spread(of_arm["per_second"] / size)
        row = {"case": case, "configuration": arm, "threads per job": str(of_arm["threads"].iloc[0])}
        cells.append(row | {"median": f"{median:,.1f} {name}", "spread": f"{low:,.1f} to {high:,.1f}"})
    return pd.DataFrame(cells)


def unsteady(rows: pd.DataFrame) -> str | None:
    """Return a warning if a configuration was much faster at one time than at another, else None."""
    speeds = rows[rows["mode"] != "probes"].groupby(["case", "arm"], sort=False)["per_second"]
    spans = speeds.max() / speeds.min()
    if not spans.max() > UNSTEADY:
        return None
    case, arm = spans.index[int(spans.argmax())]
    return (
        f"The machine was busy during the benchmark: the speed of {arm} in {case} varied by a factor of "
        f"{spans.max():.1f}. Measure again while nothing else runs."
    )


def _page(rows: pd.DataFrame, ratios: pd.DataFrame, about: About) -> str:
    environment = about.environment
    versions = ", ".join(f"{k} {environment[k]}" for k in ("depthbench", "python", "torch", "torchvision"))
    facts = [
        f"Machine: {about.machine}, {about.cores} cores, {environment['platform']}",
        f"Versions: {versions}; commit {environment['commit']}",
        f"Command: `{about.command}`",
    ]
    if about.check is not None:
        facts.append(f"The captured step agrees with the eager step: {about.check}.")
    if line := unsteady(rows):
        facts.append(line)
    parts = [
        f"# Speed on {about.machine}, {about.precision}",
        "\n".join(f"- {fact}" for fact in facts),
        "![Speed relative to the conventional loop, and fraction of the ceiling](bench.png)",
        HOW_TO_READ,
        markdown(ratios_shown(ratios)),
        "## Measured speeds",
        markdown(_rates_shown(rows)),
    ]
    return "\n\n".join(parts)
