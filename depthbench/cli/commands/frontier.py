"""The command `depthbench frontier`."""

import json
from typing import Annotated

import typer

from depthbench.cli import completion
from depthbench.cli.options import ExecutionOptions, OutputOptions, StudyOptions, expand_options, option
from depthbench.cli.planning import announced_plan
from depthbench.cli.terminal import (
    RESUME,
    draw_report,
    interruptible,
    make_console,
    no_report,
    out,
    page_line,
)
from depthbench.console import say


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

      depthbench frontier no-norm --plugin my_block.py --steps 500 --below 10
    """
    from depthbench.analysis.rows import rows_of
    from depthbench.cli.display import choose_display
    from depthbench.cli.flags import parse_list
    from depthbench.execution.frontier import find_frontier
    from depthbench.report.sentences import frontier_lines
    from depthbench.store.mirror import shown

    console = make_console(quiet=output.quiet, stderr=output.as_json)
    names = parse_list("NETWORKS", networks, str)
    said: set[str] = set()  # in the plans of earlier rounds
    with interruptible(RESUME):
        found = find_frontier(
            changes.load(study, searched=names or ()),
            networks=names,
            name=changes.name,
            below=below,
            deepest=deepest,
            execution=how.settings(),
            display=choose_display(console, output.quiet),
            planner=lambda study, execution: announced_plan(console, study, execution, said),
        )
    page = None if output.no_report else draw_report(console, found.path)
    if output.as_json:
        outcome = {"study": found.path.name, "results": shown(found.path), "report": page and str(page)}
        for key, table in (("seeds", found.frontiers), ("networks", found.summary)):
            outcome[key] = json.loads(table.to_json(orient="records"))
        print(json.dumps(outcome, indent=1))
        return
    for line in frontier_lines(rows_of(found.summary), found.below):
        say(out, line)
    say(console, f"report: {page_line(page) if page else no_report(found.path)}")
