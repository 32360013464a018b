"""The command `depthbench list`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from depthbench.cli import completion
from depthbench.cli.lists import LISTS
from depthbench.cli.options import plugin_option
from depthbench.cli.terminal import out
from depthbench.errors import any_of


def list_(
    what: Annotated[
        str,
        typer.Argument(
            help=f"{any_of(LISTS)}.",
            show_default=False,
            autocompletion=completion.lists,
        ),
    ],
    part: Annotated[
        str | None,
        typer.Argument(
            help="After `settings`: show only this section of a study file, or this key. After `networks`: "
            "describe this network in detail.",
            metavar="[NAME]",
            show_default=False,
            autocompletion=completion.parts,
        ),
    ] = None,
    plugin: Annotated[list[Path] | None, plugin_option()] = None,
) -> None:
    """List the available networks, data sets, studies and so on, or all settings of a study.

    If plug-ins or installed packages can extend the list, it also shows
    where each entry comes from: built in, a package, or a file. The options
    of a plug-in's networks are listed with the settings. The value `unset`
    (`--set lr=unset`) resets a setting to its default.

    Examples:

      depthbench list networks densenet_bc

      depthbench list networks --plugin my_block.py

      depthbench list settings options --plugin my_block.py
    """
    from depthbench.cli.lists import describe_list, origins
    from depthbench.paths import expand
    from depthbench.plugins.loading import load_plugins

    load_plugins(expand(file) for file in plugin or [])
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    known = origins(what) if part is None else {}
    for name, description in describe_list(what, part, imports=True).items():
        origin = [escape(known[name])] if name in known else []
        table.add_row(f"[bold]{escape(name)}[/bold]", escape(description), *origin)
    out.print(table)
