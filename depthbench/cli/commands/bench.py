"""The command `depthbench bench`."""

from pathlib import Path
from typing import Annotated

import typer

from depthbench.cli import completion
from depthbench.cli.options import option
from depthbench.cli.terminal import err, interruptible, out
from depthbench.console import say
from depthbench.training.precisions import PRECISION_CHOICES


def bench(
    *,
    depths: Annotated[
        str, typer.Option(help="Depths of the networks at 32x32 pixels, or none.")
    ] = "20,56,110",
    digits: Annotated[str, typer.Option(help="Depths of the networks on 8x8 digits, or none.")] = "56",
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.", autocompletion=completion.devices)
    ] = "auto",
    jobs: Annotated[
        str, option("Maximum number of runs at once. Default: one per core, up to 8; on a GPU, 4.")
    ] = "auto",
    precision: Annotated[
        str, typer.Option(help=f"{PRECISION_CHOICES}.", autocompletion=completion.precisions)
    ] = "fp32",
    repeats: Annotated[int, typer.Option(help="Number of times that each loop is timed.")] = 5,
    seconds: Annotated[
        float | None, option("Approximate seconds of each timing. Default: 3; on a GPU, 1.")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Images in each update at 32x32.")] = 128,
    engines: Annotated[
        bool,
        option(
            "Measure the overhead of Ray, shards and DDP instead: whole studies, compared with local "
            "execution.",
            "--engines",
        ),
    ] = False,
    results: Annotated[Path, typer.Option(help="Folder for the directory of this machine's results.")] = Path(
        "results/bench"
    ),
) -> None:
    """Measure how fast this machine trains, compared with a conventional loop.

    It times three things alternately: a conventional loop (DataLoader,
    torchvision transforms, a loss fetched at every step), depthbench's loop
    (also with probes), and a large matrix product and a large copy as the
    upper limit. Each is timed as one run and as several at once. The command
    prints ratios with their spread, and writes a table and a plot. It takes
    minutes, during which the machine should do nothing else.

    Examples:

      depthbench bench

      depthbench bench --depths 20 --digits none --seconds 1

      depthbench bench --device cuda --precision bf16

      depthbench bench --engines --digits 20 --repeats 3
    """
    from depthbench.bench import BenchFailed
    from depthbench.bench.settings import Settings
    from depthbench.cli.flags import parse_jobs

    settings = Settings.checked(
        depths=depths,
        digits=digits,
        device=device,
        jobs=parse_jobs(jobs),
        precision=precision,
        repeats=repeats,
        seconds=seconds,
        batch_size=batch_size,
    )
    from depthbench.bench.command import run_bench, run_engines  # import torch, so only after the checks

    try:
        with interruptible("interrupted: no results are written (--repeats 1 takes less time)"):
            (run_engines if engines else run_bench)(settings, results, out)
    except BenchFailed as error:
        say(err, f"depthbench: {error}", "red")
        raise typer.Exit(1) from None
