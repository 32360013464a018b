"""The command line: parse, then call one function each. Exit codes: 0 all done, 1 a run failed or diverged
unexpectedly, 2 bad input, 130 interrupted."""

import itertools
import json
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from depthbench.cli import options
from depthbench.cli.display import Bars, Lines, Silent
from depthbench.cli.options import option
from depthbench.cli.tables import plan_lines, plan_table, runs_table, summary_table
from depthbench.console import counting, say, saying
from depthbench.errors import BadInput, Interrupted
from depthbench.report.sentences import frontier_lines

UsageError = typer.BadParameter.__base__  # of the click that this typer brings
app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="What does depth do to a network's trainability, and what do residual connections change?\n\n"
    "Start with `depthbench run --depths 20,56,110`: it trains plain and residual networks on handwritten "
    "digits (minutes on two cores) and writes results/quick/report/index.html.",
)


def console(**settings: Any) -> Console:
    """A console; a file or a pipe, which has no width of its own, is given one."""
    made = Console(emoji=False, **settings)  # `:x:` in a name or a path is no picture
    return made if made.is_terminal else Console(emoji=False, width=120, **settings)


out, err = console(), console(stderr=True)


@contextmanager
def interruptible(told: str) -> Iterator[None]:
    """Around what a Ctrl-C ends: says so in one line. (typer would say nothing.)"""
    try:
        yield
    except KeyboardInterrupt:
        say(err, told)
        raise typer.Exit(130) from None


@contextmanager
def drawing(shown: Console, path: Path) -> Iterator[None]:
    """Around the drawing of the report of `path`."""
    told = f"interrupted: {path} has no whole report; `depthbench report {path}` draws it"
    with interruptible(told), saying(shown, f"drawing the report of {path}"):
        yield


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
    """The options of depthbench itself; its help is the app's."""


@app.command()
def run(
    context: typer.Context,
    study: options.StudyName = None,
    name: options.Name = None,
    depths: options.Depths = None,
    networks: options.Networks = None,
    seeds: options.Seeds = None,
    data: options.DataName = None,
    data_dir: options.DataDir = None,
    image_size: options.ImageSize = None,
    skip_bad_images: options.SkipBadImages = False,
    steps: options.Steps = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    settings: options.Settings = None,
    device: options.Device = "auto",
    precision: options.Precision = None,
    jobs: options.Jobs = "auto",
    recompute: options.Recompute = None,
    step: options.StepKind = "auto",
    results: options.Stored = Path("results"),
    fresh: Annotated[bool, option("Discard what is stored of this study.", "--fresh")] = False,
    dry_run: Annotated[bool, option("Check all, say what would run, and stop.", "--dry-run")] = False,
    tensorboard: options.TensorBoard = False,
    plugin: options.Plugins = None,
    quiet: options.Quiet = False,
    as_json: options.AsJson = False,
) -> None:
    """Train the runs of a study that are not done yet, and write the report.

    Ctrl-C keeps everything: the same command goes on. More depths, networks or seeds join what is stored.

    Examples:

      depthbench run --depths 20,56,110

      depthbench run --data ~/cifar10-jpeg --depths 20,56 --steps 200

      depthbench run my_study.toml --set lr=0.05 --name my_study-lr0.05
    """
    from depthbench.execution.run import execute
    from depthbench.tensorboard import FOLDER, Written, check_installed, write_run

    if tensorboard:
        check_installed()
    shown = console(quiet=quiet, stderr=as_json)
    plan = _prepared(shown, context.params, executes=True)
    _announce(plan, shown)
    if dry_run:
        _print_rows(_planned(plan), f"{plan.study.name}: what would run", as_json)
        return
    watch = Silent() if quiet else (Bars if shown.is_terminal else Lines)(shown)
    try:
        execute(plan, Written(watch, plan.store) if tensorboard else watch)
    except Interrupted:
        say(err, "interrupted: the same command goes on from what each run has kept")
        raise typer.Exit(130) from None
    if tensorboard:
        for stored in plan.finished:  # those that ended just now have theirs
            write_run(plan.store.run(stored.run_id))
        say(shown, f"event files: tensorboard --logdir {plan.store.path / FOLDER}")
    _finish(plan, shown, as_json)


@app.command()
def frontier(
    context: typer.Context,
    networks: Annotated[
        str, typer.Argument(help="Network families, e.g. plain,resnet.", show_default=False)
    ] = "plain,resnet",
    study: Annotated[str | None, option("The study whose data and recipe to take. Default: quick.")] = None,
    name: options.Name = None,
    below: Annotated[
        float | None,
        option("A run trains if its train error is below this, in %. Default: the study's, or 20."),
    ] = None,
    deepest: Annotated[
        int | None, option("No depth above this is tried. Default: the study's, or 1000.")
    ] = None,
    seeds: options.Seeds = None,
    data: options.DataName = None,
    data_dir: options.DataDir = None,
    image_size: options.ImageSize = None,
    skip_bad_images: options.SkipBadImages = False,
    steps: options.Steps = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    settings: options.Settings = None,
    device: options.Device = "auto",
    precision: options.Precision = None,
    jobs: options.Jobs = "auto",
    recompute: options.Recompute = None,
    step: options.StepKind = "auto",
    results: options.Stored = Path("results"),
    plugin: options.Plugins = None,
    quiet: options.Quiet = False,
    as_json: options.AsJson = False,
) -> None:
    """Find the greatest depth at which a network still trains, for each seed, by doubling and bisection.

    A run trains if its last train error, in evaluation mode, is below a bound after the steps of the study.
    Each depth that is tried is a run of the study NAME (default: frontier-STUDY), stored and never trained
    again; the report shows the frontier with its spread over seeds.

    Examples:

      depthbench frontier plain,resnet --deepest 200

      depthbench frontier mine --plugin my_block.py --steps 500 --below 10
    """
    from depthbench.analysis.frontier import frontiers, summarise
    from depthbench.cli import flags
    from depthbench.execution.frontier import search
    from depthbench.execution.run import execute
    from depthbench.store.results import load_results
    from depthbench.study.file import build
    from depthbench.study.model import Frontier

    chosen = _chosen(context.params | {"networks": None})
    grid = chosen.grid.model_copy(update={"network": flags.parse_list("NETWORKS", networks, str)})
    given = {key: value for key, value in (("below", below), ("deepest", deepest)) if value is not None}
    limits = build(Frontier, (chosen.frontier or Frontier()).model_dump() | given, "frontier")
    changes = {"grid": grid, "frontier": limits} | ({} if name else {"name": f"frontier-{chosen.name}"})
    chosen = chosen.model_copy(update=changes)
    shown = console(quiet=quiet, stderr=as_json)
    watch = Silent() if quiet else (Bars if shown.is_terminal else Lines)(shown)
    try:
        for plan in search(chosen, results / chosen.name, lambda s: _checked(shown, s, context.params, True)):
            _announce(plan, shown)
            execute(plan, watch)
    except Interrupted:
        say(err, "interrupted: the same command goes on from what each run has kept")
        raise typer.Exit(130) from None
    path = results / chosen.name
    runs = load_results(path).runs
    found = frontiers(runs, limits.below)
    summary = summarise(found, runs)
    with drawing(shown, path):
        page = _write_report(path)
    if as_json:
        rows = {"seeds": found, "networks": summary}
        told = {key: json.loads(frame.to_json(orient="records")) for key, frame in rows.items()}
        print(json.dumps({"study": chosen.name, "results": str(path), "report": str(page)} | told, indent=1))
    else:
        for line in frontier_lines(summary.to_dict("records"), limits.below):
            say(out, line)
        say(shown, f"report: {page}")


@app.command()
def bench(
    depths: Annotated[str, typer.Option(help="Of the networks at 32x32 pixels, or none.")] = "20,56,110",
    digits: Annotated[str, typer.Option(help="Of the networks of the digits study, or none.")] = "56",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    jobs: Annotated[str, option("Most runs at once. Default: a run a core, up to 8; GPU: 4.")] = "auto",
    precision: Annotated[str, typer.Option(help="fp32, tf32 or bf16.")] = "fp32",
    repeats: Annotated[int, typer.Option(help="How often each arm is timed.")] = 5,
    seconds: Annotated[float | None, option("How long each time, about. Default: 3; GPU: 1.")] = None,
    batch_size: Annotated[int, typer.Option(help="Images in each update at 32x32.")] = 128,
    results: Annotated[Path, typer.Option(help="Where a folder for this machine goes.")] = Path(
        "results/bench"
    ),
) -> None:
    """Measure how fast training is here: depthbench's loop beside the conventional one, and the ceiling.

    The conventional loop (DataLoader, torchvision's transforms, a loss fetched at every step), depthbench's
    loop, and a large matrix product and copy take turns: one run and several at once, probes on and off.
    Prints ratios with their spread; writes a table and a plot. It takes minutes: leave the machine alone.

    Examples:

      depthbench bench

      depthbench bench --depths 20 --digits none --seconds 1     # a first look

      depthbench bench --device cuda --precision bf16
    """
    from depthbench.bench import BenchFailed
    from depthbench.bench.settings import Settings
    from depthbench.cli import flags

    settings = Settings.checked(
        depths=depths,
        digits=digits,
        device=device,
        jobs=flags.parse_jobs(jobs),
        precision=precision,
        repeats=repeats,
        seconds=seconds,
        batch_size=batch_size,
    )
    from depthbench.bench.command import run_bench  # torch, once the flags are known to be good

    try:
        with interruptible(
            "interrupted: nothing is written, since ratios want every arm; --repeats 1 is shorter"
        ):
            run_bench(settings, results, out)
    except BenchFailed as error:
        say(err, f"depthbench: {error}", "red")
        raise typer.Exit(1) from None


@app.command("plan")
def plan_(
    context: typer.Context,
    study: options.StudyName = None,
    name: options.Name = None,
    depths: options.Depths = None,
    networks: options.Networks = None,
    seeds: options.Seeds = None,
    data: options.DataName = None,
    data_dir: options.DataDir = None,
    image_size: options.ImageSize = None,
    skip_bad_images: options.SkipBadImages = False,
    steps: options.Steps = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    settings: options.Settings = None,
    device: options.Device = "auto",
    precision: options.Precision = None,
    jobs: options.Jobs = "auto",
    recompute: options.Recompute = None,
    step: options.StepKind = "auto",
    results: options.Stored = Path("results"),
    plugin: options.Plugins = None,
    calibrate: Annotated[
        bool,
        option("Whether to train a few steps to estimate the times.", "--calibrate/--no-calibrate"),
    ] = True,
    as_json: options.AsJson = False,
) -> None:
    """Say what a study will cost before it runs: parameters, multiply-adds, memory, and time on this machine.

    Times come from training some steps of some of its networks on random images, which takes up to a minute.
    Runs that are done cost nothing any more.

    Examples:

      depthbench plan --depths 20,56,110

      depthbench plan --networks resnet --depths 1202 --no-calibrate
    """
    from depthbench.execution.cost.estimate import estimate

    shown = console(stderr=as_json)
    with interruptible("interrupted: --no-calibrate counts alone, at once"):
        plan = _prepared(shown, context.params, executes=False)
        with counting(shown, "counting", "training a few steps") as progress:
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
        list[Path], typer.Argument(help="Directories of studies, e.g. results/quick.", show_default=False)
    ],
    style: Annotated[
        str,
        option(
            "page: for the screen; paper: PDFs too; slides: PDFs, and figures of 16:9 with larger text, in "
            "report-slides/."
        ),
    ] = "page",
    tensorboard: options.TensorBoard = False,
) -> None:
    """Write report/index.html, the figures (SVG, PNG) and the tables (CSV, Markdown, LaTeX) of results."""
    from depthbench.store.study_store import StudyStore
    from depthbench.tensorboard import check_installed, write_study

    if tensorboard:
        check_installed()
    for path in results:
        StudyStore(path).table()  # one that holds no results is told of before any is drawn
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
            help="Two or more results directories; the others are held against the first.", show_default=False
        ),
    ],
    out_dir: Annotated[
        Path | None,
        option("Where the report goes. Default: comparisons/A-vs-B beside the first.", "--out"),
    ] = None,
) -> None:
    """Write one report of several results: what differs in their settings, and how far their errors do.

    Two blocks, two initialisations, two versions, CPU and GPU: curves over each other, differences by seed
    with their intervals, and a warning where runs are not comparable. Networks of one name are compared; of
    two studies that have each one network that the other has not, these two as well.

    Examples:

      depthbench compare results/reference/quick results/reference/quick-bf16

      depthbench compare results/he results/xavier results/orthogonal --out figures/init
    """
    from depthbench.report.comparison import write_comparison

    with interruptible("interrupted: there is no whole comparison"), saying(err, "drawing the comparison"):
        page = write_comparison(results, out_dir)
    print(page)


@app.command()
def show(
    results: options.Results,
    as_json: Annotated[bool, typer.Option("--json", help="Print the runs as JSON.")] = False,
) -> None:
    """Show the runs of a results directory: status, errors, cost."""
    from depthbench.store.results import read_runs
    from depthbench.store.study_store import StudyStore
    from depthbench.study.grid import asked_for

    rows = read_runs(results)
    _print_rows(rows, str(results), as_json)
    store = StudyStore(results)
    absent = len(asked_for(store.table())) - len(store.run_stores())
    if absent > 0 and not as_json:
        say(out, f"{absent} more run{'s'[: absent > 1]} of the study not begun")


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help="networks, data, studies or probes.", show_default=False)],
    plugin: options.Plugins = None,
) -> None:
    """List what can be named: networks, data, studies or probes."""
    from depthbench.data import DATASETS
    from depthbench.networks import NETWORKS
    from depthbench.plugins import load_plugin
    from depthbench.probes import PROBES
    from depthbench.study.file import bundled_studies

    for file in plugin or []:
        load_plugin(file)
    lists = {
        "networks": {
            k: f"{v.about}; depths {v.depths}" if v.about else f"depths {v.depths}"
            for k, v in NETWORKS.items()
        },
        "data": {k: v.about for k, v in DATASETS.items()},
        "studies": {k: _opening(path) for k, path in bundled_studies().items()},
        "probes": {k: v.about for k, v in PROBES.items()},
    }
    if what not in lists:
        raise BadInput(f"list {what}: there are networks, data, studies and probes to list")
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for key, about in lists[what].items():
        table.add_row(f"[bold]{escape(key)}[/bold]", escape(about))
    out.print(table)


def _prepared(shown: Console, asked: Mapping[str, Any], executes: bool):
    """The plan that the options of `run` or `plan` ask for: name -> value, as they were parsed."""
    return _checked(shown, _chosen(asked), asked, executes)


def _chosen(asked: Mapping[str, Any]):
    """The study that the options ask for."""
    from depthbench.cli import flags
    from depthbench.plugins import load_plugin
    from depthbench.study.file import load_study

    plugins = [Path(file) for file in asked["plugin"] or ()]  # text, where typer is 0.27.0
    for file in plugins:
        load_plugin(file)
    given = flags.overrides(
        grid={
            "network": flags.parse_list("--networks", asked["networks"], str),
            "depth": flags.parse_list("--depths", asked.get("depths"), int),
            "seed": flags.parse_seeds(asked["seeds"]),
        },
        data={"image_size": asked["image_size"], "skip_bad_images": asked["skip_bad_images"] or None},
        recipe={name: asked[name] for name in ("steps", "epochs", "batch_size", "precision")},
        settings=asked["settings"] or [],
    )
    if plugins:
        given["plugins"] = [str(file.resolve()) for file in plugins]
    base, given = flags.choose_study(asked["study"], asked["data"], asked["name"], given)
    return load_study(base, **given)


def _checked(shown: Console, study, asked: Mapping[str, Any], executes: bool):
    """The plan of `study` on this machine."""
    from depthbench.cli import flags
    from depthbench.execution.plan import make_plan
    from depthbench.execution.settings import Execution

    execution = Execution(
        results=asked["results"],
        device=asked["device"],
        jobs=flags.parse_jobs(asked["jobs"]),
        recompute=asked["recompute"],
        step_mode=asked["step"],
        data_dir=asked["data_dir"],
        fresh=asked.get("fresh", False),
    )
    interrupted = "interrupted before any run started"
    with interruptible(interrupted), counting(shown, "preparing", "reading the images") as decoding:
        return make_plan(study, execution, executes=executes, decoding=decoding)


def _opening(path: Path) -> str:
    """The first sentence of a study file's comment, up to its full stop or question mark."""
    lines = itertools.takewhile(
        lambda line: line.startswith("#"), path.read_text(encoding="utf-8").splitlines()
    )
    comment = " ".join(line.removeprefix("#").strip() for line in lines).partition("Run:")[0]
    first = re.match(r".*?(\?|(?<!\bal)(?<!\bsec)\.)(?= |$)", comment)  # et al., sec. 4 end no sentence
    return (first[0] if first else comment).strip().removesuffix(".")


def _announce(plan, shown: Console) -> None:
    """What is about to happen, in a few lines."""
    total = len(plan.todo) + len(plan.finished)
    at_once = min(plan.jobs, max(1, len(plan.todo)))
    say(
        shown,
        f"{plan.study.name}: {total} run{'s'[: total > 1]} on {plan.study.data.name}, "
        f"{len(plan.finished)} done already; {at_once} at a time, {plan.threads} "
        f"thread{'s'[: plan.threads > 1]} each, on {plan.device}; {plan.study.recipe.steps} steps a run",
    )
    say(shown, f"results: {plan.store.path}")
    if plan.data.skipped:
        names = ", ".join(plan.data.skipped[:5]) + (", ..." if len(plan.data.skipped) > 5 else "")
        say(
            shown,
            f"left out {len(plan.data.skipped)} unreadable image{'s'[: len(plan.data.skipped) > 1]}: {names}",
        )
    for note in plan.notes:
        say(shown, note)


def _planned(plan) -> list[dict[str, Any]]:
    """A row for each run that would run, and each that is done."""
    rows = []
    for status, runs in (("to do", plan.todo), ("done", plan.finished)):
        for run in runs:
            row = {"run_id": run.run_id, "network": run.network, "depth": run.depth, "seed": run.seed}
            rows.append(row | {"status": status, "steps": run.steps})
    return sorted(rows, key=lambda row: (row["depth"], row["network"], row["seed"]))


def _finish(plan, shown: Console, as_json: bool) -> None:
    """Summary, report, and the exit code."""
    from depthbench.store.results import read_runs

    wanted = {run.run_id for run in (*plan.todo, *plan.finished)}
    rows = [row for row in read_runs(plan.store.path) if row["run_id"] in wanted]
    page = None
    if any(row["status"] in ("done", "diverged") for row in rows):
        with drawing(shown, plan.store.path):
            page = _write_report(plan.store.path)
    if as_json:
        outcome = {"study": plan.study.name, "results": str(plan.store.path), "report": page and str(page)}
        print(json.dumps(outcome | {"runs": rows}, indent=1))
    else:
        if rows:
            shown.print(summary_table(rows, plan.study.name))
        say(shown, f"report: {page or 'none, no run has finished'}")
    expected = set(plan.study.may_diverge)
    bad = [
        row
        for row in rows
        if row["status"] != "done" and not (row["status"] == "diverged" and row["network"] in expected)
    ]
    for run_id in sorted(wanted - {row["run_id"] for row in rows}):  # a full disk kept nothing of it
        bad.append({"run_id": run_id, "status": "not stored"})
    if bad:
        names = ", ".join(f"{row['run_id']} {row['status']}" for row in bad[:5]) + ", ..." * (len(bad) > 5)
        why = f" ({bad[0]['reason']})" if bad[0].get("reason") else ""
        where = plan.store.path / "runs" / bad[0]["run_id"] / "error.txt"
        more = f"; see {where}" if where.exists() else ""
        say(err, f"{len(bad)} of {len(wanted)} runs did not end well: {names}{why}{more}")
        raise typer.Exit(1)


def _write_report(path: Path, style: str = "page") -> Path:
    from depthbench.report import write_report

    return write_report(path, style=style)


def _print_rows(rows: list[dict[str, Any]], title: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps(rows, indent=1))
    else:
        out.print(runs_table(rows, title))


def main() -> None:
    """Bad input is one line on stderr and exit code 2."""
    try:
        sys.exit(app(sys.argv[1:] or ["--help"], "depthbench", standalone_mode=False))
    except UsageError as error:
        told = f"{error.format_message().removesuffix('.')}; see `{error.ctx.command_path} --help`"
        say(err, f"depthbench: {told}", "red")
        sys.exit(2)
    except BadInput as error:
        say(err, f"depthbench: {error}", "red")
        sys.exit(2)
    except OSError as error:  # a full disk, a folder taken away
        say(err, f"depthbench: {error}", "red")
        sys.exit(1)
    except KeyboardInterrupt:
        say(err, "interrupted")
        sys.exit(130)
