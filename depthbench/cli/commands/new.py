"""The command `depthbench new`."""

from typing import Annotated

import typer

from depthbench.cli import completion
from depthbench.cli.options import option
from depthbench.cli.terminal import out
from depthbench.console import say


def new(
    kind: Annotated[
        str,
        typer.Argument(
            help="network, probe, dataset, figure or study.",
            show_default=False,
            autocompletion=completion.kinds,
        ),
    ],
    name: Annotated[
        str, typer.Argument(help="Its name. my-block is written to my_block.py.", show_default=False)
    ],
    output: Annotated[
        str, option("The folder to write to. Default: the current one.", "--output", metavar="DIR")
    ] = ".",
) -> None:
    """Write a working example to start from, and its test.

    The file is a plug-in with a network, probe, data set or figure, or a
    study. It is short and commented. Existing files are not replaced.

    Examples:

      depthbench new network my-block

      depthbench new study my-study --output studies
    """
    from depthbench.scaffold import write_new

    written = write_new(kind, name, output)
    say(out, f"wrote {written.file} and {written.test}. Next:")
    for command in written.commands:
        print(f"  {command}")
