"""The command `depthbench check`."""

from pathlib import Path
from typing import Annotated

import typer

from depthbench.cli import completion
from depthbench.cli.flags import parse_list
from depthbench.cli.options import option
from depthbench.cli.terminal import err, interruptible, out
from depthbench.console import say, saying
from depthbench.errors import BadInput


def check(
    file: Annotated[
        Path, typer.Argument(help="A Python file with your own NETWORKS.", metavar="FILE", show_default=False)
    ],
    networks: Annotated[str | None, option("Names in the file, e.g. mine,other. Default: all.")] = None,
    depths: Annotated[
        str | None, option("Depths to build, e.g. 4,8. Default: the first two of each network.")
    ] = None,
    data: Annotated[
        str,
        typer.Option(help="The data set whose images the networks get.", autocompletion=completion.data_sets),
    ] = "digits",
) -> None:
    """Check your own networks before you train them.

    Each network is built at two depths, and makes a forward pass, a
    backward pass and an evaluation on a few random images. The command
    names what cannot be trained: the shape of the output, parameters that
    no gradient reaches, depths that give the same network (with --depths,
    among these only), seeds that change nothing. `run`, `plan` and
    `frontier` check the networks of a study in the same way. FILE is
    executed.

    Examples:

      depthbench check my_block.py

      depthbench check my_block.py --networks mine --depths 8,20 --data cifar10
    """
    from depthbench.execution.plugin_checks import check_plugin

    chosen = parse_list("--networks", networks, str)
    with interruptible("interrupted"), saying(err, "checking"):
        checked = check_plugin(
            file, networks=chosen, depths=parse_list("--depths", depths, int), data_set=data
        )
    for result in checked:
        at = f"depth{'s'[: len(result.depths) > 1]} {', '.join(map(str, result.depths))}"
        if not result.problems:
            say(out, f"{result.name}: passes at {at}")
        for problem in result.problems:
            say(out, problem, "red")
        for note in result.notes:
            say(out, f"  {note}")
    if failed := [result.name for result in checked if result.problems]:
        raise BadInput(f"{len(failed)} of {len(checked)} networks have a problem: {', '.join(failed)}")
