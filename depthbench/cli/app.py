"""The command line. Each command is a module in cli/commands/: it parses its options and calls one function.

Exit codes: 0 all runs are done, 1 a run failed or diverged unexpectedly, 2 bad input, 130 interrupted."""

import contextlib
import difflib
import io
import re
import sys
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

import typer

from depthbench.cli.commands.bench import bench
from depthbench.cli.commands.check import check
from depthbench.cli.commands.compare import compare
from depthbench.cli.commands.frontier import frontier
from depthbench.cli.commands.list import list_
from depthbench.cli.commands.merge import merge
from depthbench.cli.commands.new import new
from depthbench.cli.commands.plan import plan
from depthbench.cli.commands.report import report
from depthbench.cli.commands.run import run
from depthbench.cli.commands.show import show
from depthbench.cli.options import option
from depthbench.cli.terminal import err
from depthbench.console import say
from depthbench.errors import BadInput, RunsFailed, StudyStopped, any_of, of_system
from depthbench.machine.launch import Launch, read_launch
from depthbench.text import shell, single_line

if TYPE_CHECKING:
    from typer._click.exceptions import UsageError  # typer brings its own copy of click
else:
    UsageError = typer.BadParameter.__base__

TOGETHER = ("run", "frontier")
"""The commands that torchrun can start in several processes."""

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


for command in (
    run,
    frontier,
    bench,
    plan,
    new,
    check,
    report,
    compare,
    show,
    merge,
):  # in the order of the help
    app.command()(command)
app.command("list")(list_)


def _with_value(option: re.Match[str]) -> str:
    """Return an option with the value that the command line gives it."""
    name, words = option[1], sys.argv[1:]
    after = [value for word, value in pairwise(words) if word == name]
    joined = [word.removeprefix(f"{name}=") for word in words if word.startswith(f"{name}=")]
    return " ".join([name, *(after + joined)[-1:]])


def _flag_of_setting(error: UsageError) -> str | None:
    """Return what to write instead of an unknown flag that is called like a setting of a study."""
    flag = str(getattr(error, "option_name", "")).partition("=")[0]
    takes_settings = error.ctx is not None and any("--set" in p.opts for p in error.ctx.command.params)
    if not (takes_settings and type(error).__name__ == "NoSuchOption"):
        return None
    from depthbench.study.keys import describe_keys, settings_named

    found, is_setting = settings_named(flag), True
    if not found:
        known = [name for p in error.ctx.command.params for name in p.opts] if error.ctx else []
        settings = [f"--{key.name.rpartition('.')[2].replace('_', '-')}" for key in describe_keys()]
        (nearest, *_) = difflib.get_close_matches(flag, [*known, *settings], n=1) or [""]
        if not nearest or nearest in known:
            return None
        found, is_setting = settings_named(nearest), False
    _, _, value = _with_value(re.match("(.*)", flag)).partition(" ")  # type: ignore[arg-type]
    shown = shell(value) if value and not value.startswith("--") else "VALUE"
    uses = any_of([f"--set {key}={shown}" for key in found])
    if is_setting:
        return f"{flag} is a setting, not a flag: use {uses}"
    return f"no such flag {flag}; did you mean {uses}?"


def _usage_problem(error: UsageError) -> str:
    """Return what is wrong with the arguments, and the command that explains them."""
    problem = _flag_of_setting(error) or error.format_message().removesuffix(".")
    problem = re.sub(r"Invalid value for '(--[\w-]+)'", _with_value, problem)
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


def _connect(launch: Launch, connection: contextlib.ExitStack) -> None:
    """Connect to the other processes of torchrun until `connection` ends.

    Raises BadInput for a command that runs in one process."""
    if not set(TOGETHER) & set(sys.argv[1:2]):
        commands = " and ".join(f"`depthbench {name}`" for name in TOGETHER)
        raise BadInput(f"torchrun can start {commands} only: start this command without torchrun")
    from depthbench.execution.ranks import connected

    connection.enter_context(connected(launch))


def _follow(launch: Launch) -> int:
    from depthbench.execution.ranks import follow

    return follow(launch)


def main() -> None:
    """Run the command line. Bad input prints one line to stderr and exits with code 2.

    Of the processes that torchrun started, only rank 0 reads the command line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # some names cannot be encoded, which must not end a study
            stream.reconfigure(errors="replace")
    launch = read_launch()
    if launch.rank:
        sys.exit(_follow(launch))
    try:
        with contextlib.ExitStack() as connection:
            if not launch.is_alone:
                _connect(launch, connection)
            sys.exit(app(sys.argv[1:] or ["--help"], "depthbench", standalone_mode=False))
    except UsageError as error:
        say(err, f"depthbench: {single_line(_usage_problem(error))}", "red")
        sys.exit(2)
    except BadInput as error:
        say(err, f"depthbench: {error}", "red")
        sys.exit(1 if isinstance(error, RunsFailed) else 2)
    except (OSError, StudyStopped) as error:  # e.g. a full disk, or a process that died
        problem = of_system(error) if isinstance(error, OSError) else str(error)
        say(err, f"depthbench: {single_line(problem)}", "red")
        sys.exit(1)
    except KeyboardInterrupt:
        say(err, "interrupted")
        sys.exit(130)
