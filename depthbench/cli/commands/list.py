"""The command `depthbench list`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from depthbench.cli import completion
from depthbench.cli.options import plugin_option
from depthbench.cli.terminal import out


def list_(
    what: Annotated[
        str,
        typer.Argument(
            help="networks, data, studies, probes, backends or settings.",
            show_default=False,
            autocompletion=completion.lists,
        ),
    ],
    part: Annotated[
        str | None,
        typer.Argument(
            help="A section of a study file or a key, of which `list settings` shows the settings.",
            metavar="[SECTION]",
            show_default=False,
            autocompletion=completion.sections,
        ),
    ] = None,
    plugin: Annotated[list[Path] | None, plugin_option()] = None,
) -> None:
    """List the available networks, data sets, studies, probes or backends, or all settings of a study."""
    from depthbench.cli.lists import describe_list
    from depthbench.plugins.loading import load_plugin

    for file in plugin or []:
        load_plugin(file)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, description in describe_list(what, part).items():
        table.add_row(f"[bold]{escape(name)}[/bold]", escape(description))
    out.print(table)
