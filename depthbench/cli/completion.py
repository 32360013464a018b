"""Shell completion of names. Each function returns (value, description) or values for a partly typed word.

Nothing here imports torch or pandas: a shell waits for the answer."""

from collections.abc import Mapping

import typer

from depthbench.cli.lists import LISTS, describe_list
from depthbench.training.precisions import PRECISIONS

DEVICES = ("auto", "cpu", "cuda", "mps")
REPORT_STYLES = ("page", "paper", "slides")


def studies(incomplete: str) -> list[tuple[str, str]]:
    """Complete the name of a bundled study. Files are completed by the shell."""
    return _matching(describe_list("studies"), incomplete)


def networks(incomplete: str) -> list[tuple[str, str]]:
    """Complete the last name of a comma-separated list of networks."""
    earlier, comma, last = incomplete.rpartition(",")
    names = _matching(describe_list("networks"), last)
    return [(f"{earlier}{comma}{name}", about) for name, about in names]


def data_sets(incomplete: str) -> list[tuple[str, str]]:
    """Complete the name of a data set. Folders are completed by the shell."""
    return _matching(describe_list("data"), incomplete)


def devices(incomplete: str) -> list[str]:
    """Complete a device."""
    return _starting(DEVICES, incomplete)


def precisions(incomplete: str) -> list[str]:
    """Complete a precision."""
    return _starting(PRECISIONS, incomplete)


def step_modes(incomplete: str) -> list[str]:
    """Complete a step mode."""
    from depthbench.training.mode import STEP_MODES

    return _starting(STEP_MODES, incomplete)


def backends(incomplete: str) -> list[tuple[str, str]]:
    """Complete the name of a backend."""
    return _matching(describe_list("backends"), incomplete)


def report_styles(incomplete: str) -> list[str]:
    """Complete a report style."""
    return _starting(REPORT_STYLES, incomplete)


def lists(incomplete: str) -> list[str]:
    """Complete what `depthbench list` lists."""
    return _starting(LISTS, incomplete)


def kinds(incomplete: str) -> list[str]:
    """Complete the kinds of files that `depthbench new` writes."""
    from depthbench.scaffold import KINDS

    return _starting(tuple(KINDS), incomplete)


def parts(ctx: typer.Context, incomplete: str) -> list[str] | list[tuple[str, str]]:
    """Complete the second word of `depthbench list`: a network, or a section of a study file."""
    what = ctx.params.get("what")
    if what == "networks":
        return _matching(describe_list("networks"), incomplete)
    if what == "settings":
        from depthbench.study.keys import sections

        return _starting(tuple(sections()), incomplete)
    return []


def _matching(names: Mapping[str, str], incomplete: str) -> list[tuple[str, str]]:
    return [(name, about) for name, about in names.items() if name.startswith(incomplete)]


def _starting(values: tuple[str, ...], incomplete: str) -> list[str]:
    return [value for value in values if value.startswith(incomplete)]
