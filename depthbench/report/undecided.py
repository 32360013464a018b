"""The inconclusive verdicts of stored results, in lines for the terminal.

The analysis takes seconds, most of them to import scipy.stats. Its outcome is therefore kept in the results
directory, and used until a run or the study changes."""

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from depthbench.files import write_text
from depthbench.store.results import load_history, read_runs
from depthbench.store.study_store import StudyStore

CACHE = ".undecided.json"
"""The file in a results directory that keeps the outcome."""
PACKAGE = Path(__file__).parents[1]


class Undecided(NamedTuple):
    """The inconclusive verdicts of a study."""

    lines: Sequence[str]
    """A line for each: what it is, and how many seeds would decide it."""
    seeds: int | None
    """The number of seeds that would decide all that can be decided; None if there are none."""


def undecided(path: Path, rows: Sequence[Mapping[str, Any]]) -> Undecided:
    """Return the inconclusive verdicts of the results in `path`.

    `rows` is `store.results.read_runs` of `path`. Raises BadInput if it holds no results."""
    study = StudyStore(path).table()
    key = _key(rows, study)
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads((path / CACHE).read_text(encoding="utf-8"))
        if kept["key"] == key:
            return Undecided(kept["lines"], kept["seeds"])
    found = _analyse(path, rows, study)
    with contextlib.suppress(OSError):  # results that cannot be written are analysed each time
        write_text(path / CACHE, json.dumps({"key": key, **found._asdict()}))
    return found


def pilot_lines(path: Path) -> list[str]:
    """Say how many seeds would decide the inconclusive verdicts of the pilot in `path`.

    Raises BadInput if it holds no results."""
    from depthbench.analysis.power import POWER

    found = undecided(path, read_runs(path))
    if not found.lines:
        return [f"pilot {path}: no verdict is inconclusive"]
    assumption = (
        f"pilot {path}: the seeds below decide a verdict with {100 * POWER:g} % power, assuming that the "
        "differences between depths are normal with the pilot's mean and spread over seeds"
    )
    enough = [f"`--seeds {found.seeds}` gives {found.seeds} seeds in all"] if found.seeds else []
    return [assumption, *found.lines, *enough]


def _key(rows: Sequence[Mapping[str, Any]], study: Mapping[str, Any]) -> str:
    """Return a digest of what the verdicts depend on. A run that is trained again takes another time."""
    digest = hashlib.sha256(json.dumps([rows, study.get("verdict")], default=str).encode())
    for file in (*sorted((PACKAGE / "analysis").glob("*.py")), *sorted((PACKAGE / "report").glob("*.py"))):
        digest.update(file.read_bytes())  # the code and its words
    return digest.hexdigest()


def _analyse(path: Path, rows: Sequence[Mapping[str, Any]], study: Mapping[str, Any]) -> Undecided:
    import pandas as pd

    from depthbench.analysis import FINISHED
    from depthbench.analysis.answers import answer
    from depthbench.analysis.chance import at_chance
    from depthbench.analysis.summary import summarise
    from depthbench.analysis.verdict import judge
    from depthbench.report.opening import name_of, needed, spread
    from depthbench.report.tables.formatting import signed

    finished = [dict(row) for row in rows if row["status"] in FINISHED]
    if len({row["depth"] for row in finished}) < 2:
        return Undecided([], None)
    runs = pd.DataFrame(finished)
    history = load_history(path, runs)
    if history.empty:
        history = pd.DataFrame(columns=["run_id", "step", "train_error_eval"])
    judged = judge(runs, history, "train_error_eval", study.get("verdict", {}).get("margin"))
    answers = answer(judged, at_chance(summarise(runs), runs))
    open_ones = [found for found in answers if found.verdict == "inconclusive"]
    lines = [
        f"{name_of(found)}, depth {found.shallow} to {found.deep}: inconclusive ({signed(found.effect)} "
        f"points, {spread(found)}, n = {found.n}); {needed(found)}"
        for found in open_ones
    ]
    seeds = [found.seeds_needed for found in open_ones if found.seeds_needed]
    return Undecided(lines, max(seeds, default=None))
