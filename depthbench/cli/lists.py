"""The names that `depthbench list` shows, with a description of each."""

import itertools
import re
from collections.abc import Mapping
from pathlib import Path

from depthbench.errors import BadInput, nearest
from depthbench.networks.family import Family
from depthbench.plugins.installed import add_installed
from depthbench.registry import Entry, look_up

LISTS = (
    "networks",
    "data",
    "studies",
    "probes",
    "optimizers",
    "figures",
    "tables",
    "backends",
    "settings",
)
EXTENSIBLE = {
    "networks": "NETWORKS",
    "data": "DATASETS",
    "probes": "PROBES",
    "optimizers": "OPTIMIZERS",
    "figures": "FIGURES",
    "tables": "TABLES",
}
"""Argument of `depthbench list` -> name of the dict in a plug-in."""


def describe_list(what: str, part: str | None = None, *, imports: bool = False) -> dict[str, str]:
    """Return name -> description of the entries of one of LISTS. Raises BadInput for others.

    part: a section or key of a study file, of which only the settings are returned, or a network, which is
    described in detail. imports: whether to import the entries of installed packages to describe them. If
    that fails, the description of an entry says why."""
    if what not in LISTS:
        raise BadInput(f"list {what}: no such list; {nearest(what, LISTS, 'lists')}")
    if part is not None and what not in ("settings", "networks"):
        raise BadInput(
            f"list {what} {part}: only `list settings` and `list networks` take a second word; leave it out"
        )
    if what == "settings":
        from depthbench.study.keys import describe_keys

        described: dict[str, str] = {}
        if imports:
            add_installed()
        for key in describe_keys(part, imports=imports):  # several plug-ins may have options of one name
            described[key.name] = f"{described[key.name]} {key}" if key.name in described else str(key)
        return described
    if what == "studies":
        from depthbench.study.file import bundled_studies

        return {name: opening_sentence(path) for name, path in bundled_studies().items()}
    if what == "backends":
        from depthbench.execution.backends import BACKENDS

        return {name: entry.about for name, entry in BACKENDS.items()}
    if part is not None:
        return _describe_network(part)
    return {name: _describe(what, entry, imports=imports) for name, entry in _entries(what).items()}


def _describe_network(name: str) -> dict[str, str]:
    """Return heading -> text of all that is known of a network. Raises BadInput for an unknown name."""
    family = look_up(_entries("networks"), "network", name)
    assert isinstance(family, Family)
    shallowest = family.depths.depth(1)
    assert shallowest is not None
    known = {**family.defaults(shallowest), **family.own.defaults}
    taken = sorted(family.own.known if family.takes is None else family.takes)
    options = ", ".join(f"{key} = {known[key]}" if key in known else key for key in taken)
    unit = family.depth_unit.removeprefix("weighted ")
    unit = unit.removesuffix("s") if shallowest == 1 else unit
    described = {
        "network": f"{name}: {family.about or 'not described'}",
        "depths": str(family.depths),
        "depth counts": family.depth_counts,
        "twin": family.twin or "",
        "matched with": family.matched,
        "options": options and f"{options} (defaults at {shallowest} {unit})",
        "origin": family.origin or "built in",
    }
    return {heading: text for heading, text in described.items() if text}


def origins(what: str) -> dict[str, str]:
    """Return name -> where the entry comes from. Empty for a list that plug-ins cannot extend."""
    if what not in EXTENSIBLE:
        return {}
    return {name: entry.origin or "built in" for name, entry in _entries(what).items()}


def _entries(what: str) -> Mapping[str, Entry]:
    if what not in EXTENSIBLE:
        raise BadInput(f"list {what}: no such list; {nearest(what, LISTS, 'lists')}")
    from depthbench.plugins.lists import LISTS as KNOWN

    add_installed()
    return KNOWN[EXTENSIBLE[what]].entries


def _describe(what: str, entry: Entry, *, imports: bool) -> str:
    if entry.find is not None and not imports:
        return entry.origin
    try:
        entry = entry.resolved()
        if what == "networks":
            assert isinstance(entry, Family)
            return f"{entry.about}; depths {entry.depths}" if entry.about else f"depths {entry.depths}"
        if what in ("figures", "tables"):
            title: str = entry.load().title
            return title
    except BadInput as error:
        return str(error)
    return entry.about or "not described"


def opening_sentence(path: Path) -> str:
    """Return the first sentence of a study file's comment, up to its full stop or question mark."""
    lines = itertools.takewhile(
        lambda line: line.startswith("#"), path.read_text(encoding="utf-8").splitlines()
    )
    comment = " ".join(line.removeprefix("#").strip() for line in lines).partition("Run:")[0]
    # The full stops of "et al." and "sec. 4" end no sentence.
    first = re.match(r".*?(\?|(?<!\bal)(?<!\bsec)\.)(?= |$)", comment)
    return (first[0] if first else comment).strip().removesuffix(".")
