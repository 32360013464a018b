"""The command line: each command parses its options and calls one function.

Exit codes: 0 all runs are done, 1 a run failed or diverged unexpectedly, 2 bad input, 130 interrupted."""

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from depthbench.cli import completion
from depthbench.cli.options import (
    ExecutionOptions,
    GridOptions,
    OutputOptions,
    Results,
    StudyOptions,
    TensorBoard,
    expand_options,
    option,
)
from depthbench.cli.tables import plan_lines, plan_table, runs_table
from depthbench.cli.terminal import RESUME, drawing, err, interruptible, make_console, out
from depthbench.console import counting, say, saying
from depthbench.errors import BadInput

if TYPE_CHECKING:
    from typer._click.exceptions import UsageError  # typer brings its own copy of click

    from depthbench.execution.plan import Plan
    from depthbench.execution.settings import Execution
    from depthbench.study.model import Study
else:
    UsageError = typer.BadParameter.__base__

app = typer.Typer(
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="What does depth do to a network's trainability, and what do residual connections change?\n\n"
    "Start with `depthbench run --depths 20,56,110`. It trains plain and residual networks on handwritten "
    "digits, which takes minutes on two cores, and writes results/quick/report/index.html.",
)


def _version(asked: bool) -> None:
    if asked:
        from depthbench import __version__

        print(f"depthbench {__version__}")
        raise typer.Exit


@app.callback()
def depthbench(
    version: Annotated[
        bool, option("Show the version and exit.", "--version", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Parse the options of depthbench itself. Its help text is the app's."""


@app.command()
@expand_options
def run(
    grid: GridOptions,
    changes: StudyOptions,
    how: ExecutionOptions,
    output: OutputOptions,
    fresh: Annotated[
        bool, option("Discard the study's stored results.", "--fresh", rich_help_panel="Execution")
    ] = False,
    dry_run: Annotated[
        bool,
        option("Check everything, list the runs, and stop.", "--dry-run", rich_help_panel="Execution"),
    ] = False,
    tensorboard: TensorBoard = False,
) -> None:
    """Train the unfinished runs of a study, and write the report.

    After Ctrl-C, rerun the same command to resume. With more depths,
    networks or seeds, only the additional runs are trained.

    Examples:

      depthbench run --depths 20,56,110

      depthbench run --data ~/cifar10-jpeg --depths 20,56 --steps 200

      depthbench run my_study.toml --set lr=0.05 --name my_study-lr0.05
    """
    from depthbench.cli.display import choose_display
    from depthbench.cli.outcome import finish, planned_rows
    from depthbench.execution.run import execute
    from depthbench.tensorboard import FOLDER, TensorBoardDisplay, check_installed, write_run

    if tensorboard:
        check_installed()
    console = make_console(quiet=output.quiet, stderr=output.as_json)
    study = changes.load(grid.study, networks=grid.networks, depths=grid.depths)
    plan = _announced_plan(console, study, how.settings(fresh=fresh))
    if dry_run:
        _print_rows(planned_rows(plan), f"{plan.study.name}: planned runs", output.as_json)
        return
    display = choose_display(console, output.quiet)
    with interruptible(RESUME):
        execute(plan, TensorBoardDisplay(display, plan.store) if tensorboard else display)
    if tensorboard:
        for stored in plan.finished:  # the display has written those of the other runs
            write_run(plan.store.run(stored.run_id))
        say(console, f"event files: tensorboard --logdir {plan.store.path / FOLDER}")
    finish(plan, console, output.as_json)


@app.command()
@expand_options
def frontier(
    *,
    networks: Annotated[
        str,
        typer.Argument(
            help="Network families. Default: plain,resnet.",
            show_default=False,
            autocompletion=completion.networks,
        ),
    ] = "plain,resnet",
    below: Annotated[
        float | None,
        option(
            "A run trains if its train error (%) is below this. Default: the study's value, or 20.",
            rich_help_panel="Search",
        ),
    ] = None,
    deepest: Annotated[
        int | None,
        option("Maximum depth to try. Default: the study's value, or 1000.", rich_help_panel="Search"),
    ] = None,
    study: Annotated[
        str | None,
        option(
            "The study with the data and recipe to use. Default: quick.",
            rich_help_panel="Study",
            autocompletion=completion.studies,
        ),
    ] = None,
    changes: StudyOptions,
    how: ExecutionOptions,
    output: OutputOptions,
) -> None:
    """Find the deepest network that still trains, for each family and seed.

    The search chooses the depths: it doubles the depth, and then bisects. A
    run trains if its final train error, in evaluation mode, is below a
    bound. Every run is stored in the study NAME (default: frontier-STUDY)
    and never trained again. The report shows the frontier and its spread
    over seeds.

    Examples:

      depthbench frontier plain,resnet --deepest 200

      depthbench frontier mine --plugin my_block.py --steps 500 --below 10
    """
    from depthbench.analysis.rows import rows_of
    from depthbench.cli.display import choose_display
    from depthbench.cli.flags import parse_list
    from depthbench.execution.frontier import find_frontier
    from depthbench.report.sentences import frontier_lines

    console = make_console(quiet=output.quiet, stderr=output.as_json)
    with interruptible(RESUME):
        found = find_frontier(
            changes.load(study),
            networks=parse_list("NETWORKS", networks, str),
            name=changes.name,
            below=below,
            deepest=deepest,
            execution=how.settings(),
            display=choose_display(console, output.quiet),
            planner=lambda study, execution: _announced_plan(console, study, execution),
        )
    with drawing(console, found.path):
        page = _write_report(found.path)
    if output.as_json:
        outcome = {"study": found.path.name, "results": str(found.path), "report": str(page)}
        for key, table in (("seeds", found.frontiers), ("networks", found.summary)):
            outcome[key] = json.loads(table.to_json(orient="records"))
        print(json.dumps(outcome, indent=1))
        return
    for line in frontier_lines(rows_of(found.summary), found.below):
        say(out, line)
    say(console, f"report: {page}")


@app.command()
def bench(
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
        str, typer.Option(help="fp32, tf32 or bf16.", autocompletion=completion.precisions)
    ] = "fp32",
    repeats: Annotated[int, typer.Option(help="Number of times that each loop is timed.")] = 5,
    seconds: Annotated[
        float | None, option("Approximate length of each timing. Default: 3; on a GPU, 1.")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Images in each update at 32x32.")] = 128,
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
    from depthbench.bench.command import run_bench  # imports torch, so only once the flags are checked

    try:
        with interruptible("interrupted: no results are written (--repeats 1 takes less time)"):
            run_bench(settings, results, out)
    except BenchFailed as error:
        say(err, f"depthbench: {error}", "red")
        raise typer.Exit(1) from None


@app.command("plan")
@expand_options
def plan_(
    grid: GridOptions,
    changes: StudyOptions,
    how: ExecutionOptions,
    calibrate: Annotated[
        bool,
        option(
            "Train a few steps to estimate the times. Default: yes.",
            "--calibrate/--no-calibrate",
            rich_help_panel="Output",
        ),
    ] = True,
    as_json: Annotated[bool, option("Print the cost as JSON.", "--json", rich_help_panel="Output")] = False,
) -> None:
    """Estimate the cost of a study: parameters, memory and time on this machine.

    The times come from training a few steps of some networks on random
    images, which takes up to a minute. Finished runs are excluded.

    Examples:

      depthbench plan --depths 20,56,110

      depthbench plan --networks resnet --depths 1202 --no-calibrate
    """
    from depthbench.execution.cost.estimate import estimate

    console = make_console(stderr=as_json)
    with interruptible("interrupted (--no-calibrate skips the timing)"):
        study = changes.load(grid.study, networks=grid.networks, depths=grid.depths)
        plan = _plan(console, study, how.settings(), executes=False)
        with counting(console, "counting parameters and memory", "timing a few steps") as progress:
            cost = estimate(plan, calibrate, progress)
    if as_json:
        print(cost.to_json())
        return
    out.print(plan_table(cost))
    for line in plan_lines(cost):
        say(out, line)


@app.command()
def report(
    results: Annotated[
        list[Path],
        typer.Argument(help="Results directories of studies, e.g. results/quick.", show_default=False),
    ],
    style: Annotated[
        str,
        option(
            "page: for the screen. paper: PDFs as well. slides: PDFs and larger 16:9 figures, in "
            "report-slides/. Default: page.",
            autocompletion=completion.report_styles,
        ),
    ] = "page",
    tensorboard: Annotated[
        bool,
        option("Also write event files for TensorBoard, in the study's tensorboard/.", "--tensorboard"),
    ] = False,
) -> None:
    """Write the reports of stored results.

    A report is report/index.html, the figures (SVG and PNG) and the tables
    (CSV, Markdown and LaTeX).
    """
    from depthbench.store.study_store import StudyStore
    from depthbench.tensorboard import check_installed, write_study

    if tensorboard:
        check_installed()
    for path in results:
        StudyStore(path).table()  # raises BadInput before any report is drawn
    for path in results:
        if tensorboard:
            print(write_study(path))
        with drawing(err, path):
            page = _write_report(path, style)
        print(page)


@app.command()
def compare(
    results: Annotated[
        list[Path],
        typer.Argument(
            help="Two or more results directories. The others are compared with the first.",
            show_default=False,
        ),
    ],
    out_dir: Annotated[
        Path | None,
        option(
            "Where to write the report. Default: comparisons/A-vs-B next to the first results directory.",
            "--out",
        ),
    ] = None,
) -> None:
    """Compare the settings and errors of several results in one report.

    Results can differ in their block, initialisation, version or device. The
    report overlays their curves, lists differences by seed with intervals,
    and warns about runs that are not comparable. Networks of the same name
    are compared. If each of two studies has exactly one network that the
    other lacks, these two are compared as well.

    Examples:

      depthbench compare results/reference/quick results/reference/quick-bf16

      depthbench compare results/he results/xavier --out figures/init
    """
    from depthbench.report.comparison import write_comparison

    with (
        interruptible("interrupted: the comparison is incomplete, so rerun this command"),
        saying(err, "drawing the comparison"),
    ):
        page = write_comparison(results, out_dir)
    print(page)


@app.command()
def show(
    results: Results,
    as_json: Annotated[bool, option("Print the runs as JSON.", "--json")] = False,
) -> None:
    """Show the runs of a results directory: status, errors and time."""
    from depthbench.store.results import read_runs
    from depthbench.store.study_store import StudyStore
    from depthbench.study.grid import requested_runs

    rows = read_runs(results)
    _print_rows(rows, str(results), as_json)
    store = StudyStore(results)
    missing = len(requested_runs(store.table())) - len(store.run_stores())
    if missing > 0 and not as_json:
        runs = "1 more run of the study has" if missing == 1 else f"{missing} more runs of the study have"
        say(out, f"{runs} not started")


@app.command("list")
def list_(
    what: Annotated[
        str,
        typer.Argument(
            help="networks, data, studies or probes.", show_default=False, autocompletion=completion.lists
        ),
    ],
    plugin: Annotated[
        list[Path] | None,
        option("A Python file with your own NETWORKS, DATASETS or PROBES.", metavar="FILE"),
    ] = None,
) -> None:
    """List the available networks, data sets, studies or probes."""
    from depthbench.cli.lists import describe_list
    from depthbench.plugins import load_plugin

    for file in plugin or []:
        load_plugin(file)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, description in describe_list(what).items():
        table.add_row(f"[bold]{escape(name)}[/bold]", escape(description))
    out.print(table)


def _plan(console: Console, study: "Study", execution: "Execution", *, executes: bool) -> "Plan":
    """Return the plan of `study`, showing the progress of reading its images."""
    from depthbench.execution.plan import make_plan

    with (
        interruptible("interrupted before any run started" if executes else "interrupted"),
        counting(console, "preparing", "reading the images") as decoding,
    ):
        return make_plan(study, execution, executes=executes, decoding=decoding)


def _announced_plan(console: Console, study: "Study", execution: "Execution") -> "Plan":
    """Return the plan of `study`, after printing what will happen."""
    from depthbench.cli.outcome import announcement

    plan = _plan(console, study, execution, executes=True)
    for line in announcement(plan):
        say(console, line)
    return plan


def _write_report(path: Path, style: str = "page") -> Path:
    from depthbench.report import write_report

    return write_report(path, style=style)


def _print_rows(rows: list[dict], title: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps(rows, indent=1))
    else:
        out.print(runs_table(rows, title))


def _usage_problem(error: UsageError) -> str:
    """Return what is wrong with the arguments, and the command that explains them."""
    problem = error.format_message().removesuffix(".")
    for parsed, words in (("integer", "a whole number"), ("number", "a number")):
        problem = re.sub(rf"Input should be a valid {parsed}(, .*)?$", f"should be {words}", problem)
    if error.ctx is not None:
        command = error.ctx.command_path
    else:  # an option without its value
        names = {
            command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands
        }
        command = " ".join(["depthbench", *(name for name in sys.argv[1:2] if name in names)])
    joint = " See" if problem.endswith("?") else "; see"
    return f"{problem}{joint} `{command} --help`"


def main() -> None:
    """Run the command line. Bad input prints one line to stderr and exits with code 2."""
    try:
        sys.exit(app(sys.argv[1:] or ["--help"], "depthbench", standalone_mode=False))
    except UsageError as error:
        say(err, f"depthbench: {_usage_problem(error)}", "red")
        sys.exit(2)
    except BadInput as error:
        say(err, f"depthbench: {error}", "red")
        sys.exit(2)
    except OSError as error:  # e.g. a full disk
        say(err, f"depthbench: {error}", "red")
        sys.exit(1)
    except KeyboardInterrupt:
        say(err, "interrupted")
        sys.exit(130)
