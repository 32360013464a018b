"""The names that `depthbench list` shows, with a description of each."""

import itertools
import re
from pathlib import Path

from depthbench.errors import BadInput, nearest

LISTS = ("networks", "data", "studies", "probes", "backends", "settings")


def describe_list(what: str, part: str | None = None) -> dict[str, str]:
    """Return name -> description of the entries of one of LISTS. Raises BadInput for others.

    part: a section of a study file, or a key, which restricts the settings."""
    if part is not None and what != "settings":
        raise BadInput(f"list {what} {part}: only `list settings` takes a second word; leave it out")
    if what == "settings":
        from depthbench.study.keys import describe_keys

        described: dict[str, str] = {}
        for key in describe_keys(part):  # networks of plug-ins may have options of the same name
            described[key.name] = f"{described[key.name]} {key}" if key.name in described else str(key)
        return described
    if what == "networks":
        from depthbench.networks import NETWORKS

        return {
            name: f"{family.about}; depths {family.depths}" if family.about else f"depths {family.depths}"
            for name, family in NETWORKS.items()
        }
    if what == "data":
        from depthbench.data import DATASETS

        return {name: entry.about for name, entry in DATASETS.items()}
    if what == "studies":
        from depthbench.study.file import bundled_studies

        return {name: opening_sentence(path) for name, path in bundled_studies().items()}
    if what == "probes":
        from depthbench.probes import PROBES

        return {name: entry.about for name, entry in PROBES.items()}
    if what == "backends":
        from depthbench.execution.backends import BACKENDS

        return {name: entry.about for name, entry in BACKENDS.items()}
    raise BadInput(f"list {what}: no such list; {nearest(what, LISTS, 'lists')}")


def opening_sentence(path: Path) -> str:
    """Return the first sentence of a study file's comment, up to its full stop or question mark."""
    lines = itertools.takewhile(
        lambda line: line.startswith("#"), path.read_text(encoding="utf-8").splitlines()
    )
    comment = " ".join(line.removeprefix("#").strip() for line in lines).partition("Run:")[0]
    # The full stops of "et al." and "sec. 4" end no sentence.
    first = re.match(r".*?(\?|(?<!\bal)(?<!\bsec)\.)(?= |$)", comment)
    return (first[0] if first else comment).strip().removesuffix(".")
