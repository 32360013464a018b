"""The inconclusive verdicts of stored results, in lines for the terminal.

The analysis takes seconds, partly to import scipy.stats. `show` and `report` therefore keep its outcome in
the results directory. It is used until a run or the study changes."""

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from depthbench.files import read_regular, write_text
from depthbench.store.record import FINISHED
from depthbench.store.remote import fetch
from depthbench.store.results import Rows, read_runs
from depthbench.store.study_store import UNDECIDED, StudyStore

if TYPE_CHECKING:
    from depthbench.report.evidence import Evidence

"""The file in a results directory that keeps the outcome."""
PACKAGE = Path(__file__).parents[1]


class Undecided(NamedTuple):
    """The inconclusive verdicts of a study."""

    lines: Sequence[str]
    """A line for each: what it is, and how many seeds would decide it."""
    seeds: int | None
    """The number of seeds that would decide all that can be decided; None if there are none."""


def undecided(path: Path, rows: Rows) -> Undecided:
    """Return the inconclusive verdicts of the results in `path`.

    `rows` is `store.results.read_runs` of `path`. Raises BadInput if it holds no results."""
    key = _key(rows, StudyStore(path).table())
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        kept = json.loads(read_regular(path / UNDECIDED))
        if kept["key"] == key:
            return Undecided([str(line) for line in kept["lines"]], kept["seeds"])
    from depthbench.report.evidence import Evidence

    return keep_undecided(Evidence.load(path, rows, layers=False))


def keep_undecided(evidence: "Evidence") -> Undecided:
    """Return the inconclusive verdicts of loaded results, and keep them in their directory."""
    from depthbench.report.opening import name_of, needed, spread
    from depthbench.report.tables.formatting import signed

    is_judged = evidence.runs["status"].isin(FINISHED).any() if len(evidence.runs) else False
    open_ones = (
        [each for each in evidence.leading_answers if each.verdict == "inconclusive"] if is_judged else []
    )
    lines = [
        f"{name_of(found)}, depth {found.shallow} to {found.deep}: inconclusive ({signed(found.effect)} "
        f"points, {spread(found)}, n = {found.n}); {needed(found)}"
        for found in open_ones
    ]
    seeds = [found.seeds_needed for found in open_ones if found.seeds_needed]
    found = Undecided(lines, max(seeds, default=None))
    if evidence.path is not None:
        content = {"key": _key(evidence.rows, evidence.study), **found._asdict()}
        with contextlib.suppress(OSError):  # results that cannot be written are analysed each time
            write_text(evidence.path / UNDECIDED, json.dumps(content))
    return found


def pilot_lines(path: str | Path) -> list[str]:
    """Say how many seeds would decide the inconclusive verdicts of the pilot in `path`.

    Raises BadInput if it holds no results."""
    from depthbench.analysis.power import POWER

    path, name = fetch(path), str(path)
    found = undecided(path, read_runs(path))
    if not found.lines:
        return [f"pilot {name}: no verdict is inconclusive"]
    assumption = (
        f"pilot {name}: the seeds below decide a verdict with {100 * POWER:g} % power, assuming that the "
        "differences between depths are normal with the pilot's mean and spread over seeds"
    )
    enough = [f"`--seeds {found.seeds}` gives {found.seeds} seeds in all"] if found.seeds else []
    return [assumption, *found.lines, *enough]


def _key(rows: Rows, study: Mapping[str, Any]) -> str:
    """Return a digest of what the verdicts depend on. A run that is trained again takes another time."""
    digest = hashlib.sha256(json.dumps([rows, study.get("verdict")], default=str).encode())
    for file in (*sorted((PACKAGE / "analysis").glob("*.py")), *sorted((PACKAGE / "report").glob("*.py"))):
        digest.update(file.read_bytes())  # the code and its words
    return digest.hexdigest()
