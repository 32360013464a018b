"""The search for the frontier, the deepest depth at which a network still trains."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from depthbench.analysis.frontier import frontiers, most_n, next_depth, summarise, tried
from depthbench.errors import BadInput, RunsFailed
from depthbench.events import Display
from depthbench.execution.plan import Plan, make_plan
from depthbench.execution.run import execute
from depthbench.execution.settings import Execution
from depthbench.store.mirror import shown
from depthbench.store.record import Record
from depthbench.store.results import load_results, read_runs
from depthbench.store.study_store import StudyStore
from depthbench.study.file import build
from depthbench.study.grid import Grid
from depthbench.study.model import Frontier, Study, file_name
from depthbench.text import shell

Planner = Callable[[Study, Execution], Plan]


@dataclass(frozen=True)
class FoundFrontier:
    """The result of a search."""

    path: Path
    """The results directory."""
    below: float
    """A run trains if its train error (percent) is below this."""
    frontiers: pd.DataFrame
    """A row per network and seed (analysis/frontier.py)."""
    summary: pd.DataFrame
    """A row per network."""


def find_frontier(
    study: Study,
    *,
    networks: str | Sequence[str] | None = None,
    below: float | None = None,
    deepest: int | None = None,
    name: str | None = None,
    execution: Execution | None = None,
    display: Display | None = None,
    planner: Planner = make_plan,
) -> FoundFrontier:
    """Find the deepest depth at which each network of `study` still trains, for each seed.

    Trains runs with the study's data and recipe at depths chosen by doubling and bisection. Finished runs are
    not trained again, so an interrupted search resumes.

    networks: one name or several, from NETWORKS or the study's variants. Default: the study's own. below: a
    run trains if its final train error (percent), in evaluation mode, is below this. deepest: the maximum
    depth to try. Both default to the study's values. name: the name of the study that stores the runs.
    Default: `frontier-STUDY`. execution: the results directory, device, number of jobs and so on. display:
    shows the progress (depthbench/events.py). planner: makes the plan of each round, e.g. one that shows
    progress while an image folder is read.

    Raises BadInput for an unknown network, for a name that cannot be stored, for a limit that is out of
    range, for a network without a depth up to `deepest`, and, as errors.RunsFailed, if the runs that the
    search needs next failed. Raises errors.Interrupted after Ctrl-C."""
    execution = execution or Execution()
    if execution.fresh:
        raise BadInput("a search continues from stored runs: leave out `fresh`, or give another `name`")
    if execution.shard is not None:
        raise BadInput(
            "a search cannot be split, because each round depends on the one before: leave out `shard`"
        )
    names = [networks] if isinstance(networks, str) else list(networks or study.grid.network)
    limits = {"below": below, "deepest": deepest}
    chosen = {key: value for key, value in limits.items() if value is not None}
    frontier = build(Frontier, (study.frontier or Frontier()).model_dump() | chosen, "frontier")
    grid = study.grid.model_copy(update={"network": names})
    name = name or f"frontier-{study.name}"
    try:
        file_name(name)
    except ValueError as error:
        raise BadInput(f"name = {name!r}: {error}") from None
    study = study.model_copy(update={"grid": grid, "also": [], "frontier": frontier, "name": name})
    store = StudyStore(execution.results / study.name)
    store.fetch()
    path = store.path
    ended: dict[str, Record] = {}
    try:
        with contextlib.ExitStack() as connection:
            for plan in search(study, path, lambda study: planner(study, execution)):
                connection.enter_context(plan.backend.connected(plan))  # one for all rounds
                ended = execute(plan, display)
    except RunsFailed as error:
        failed = {name: record for name, record in ended.items() if record.status == "failed"}
        reasons = {name: record.reason or "the reason is not known" for name, record in failed.items()}
        raise RunsFailed(f"{error}: {_failures(path, ended)}", reasons) from None
    runs = load_results(path).runs
    by_seed = frontiers(runs, frontier.below)
    return FoundFrontier(path, frontier.below, by_seed, summarise(by_seed, runs))


def _failures(path: Path, ended: Mapping[str, Record]) -> str:
    """Return the id and the reason of a failed run. They may not be stored, e.g. because the disk is full."""
    for run_id, record in ended.items():
        if record.status == "failed":
            trace = path / "runs" / run_id / "error.txt"
            return f"{run_id} ({record.reason})" + (f"; see {shown(trace)}" if os.path.exists(trace) else "")
    return f"see `{shell('depthbench', 'show', shown(path))}`"


def search(study: Study, path: Path, planner: Callable[[Study], Plan]) -> Iterator[Plan]:
    """Yield the plans to execute, one after another, to find the frontier of each network and seed.

    The study's grid names the networks and seeds; its depths are ignored. path: the results directory.
    planner: checks a study and makes its plan. If nothing is left to train, the one plan has nothing to do.
    Raises BadInput as `find_frontier` does."""
    limits = study.frontier or Frontier()
    study = study.model_copy(update={"frontier": limits, "may_diverge": study.grid.network})
    most = {name: most_n(study.checked(name).depths, limits.deepest) for name in study.grid.network}
    for name, n in most.items():
        if n == 0:
            shallowest = study.family(name).depths.depth(1)
            raise BadInput(
                f"--deepest {limits.deepest}: the shallowest {name} network has depth {shallowest}; use at "
                f"least {shallowest}"
            )
    previous = None
    while wanted := _next_grids(study, path, limits.below, most):
        if wanted == previous:  # these runs failed and would fail forever
            raise RunsFailed(
                f"{shown(path)}: the search cannot go on, because the runs that it needs next failed"
            )
        first, *others = previous = wanted
        yield planner(study.model_copy(update={"grid": first, "also": others}))
    if previous is None:
        # Everything is stored. A plan of one stored run checks that it has this recipe, and stores the
        # limits.
        (name, seed), trained = next(iter(_stored(study, path, limits.below).items()))
        grid = Grid(network=[name], depth=[next(iter(trained))], seed=[seed])
        yield planner(study.model_copy(update={"grid": grid}))


def _next_grids(study: Study, path: Path, below: float, most: dict[str, int]) -> list[Grid]:
    """Return the runs that the search needs next, a grid for each network and seed that is not finished."""
    stored = _stored(study, path, below)
    grids = []
    for name in study.grid.network:
        rule = study.family(name).depths
        for seed in study.grid.seed:
            depth = next_depth(rule, stored.get((name, seed), {}), most[name])
            if depth is not None:
                grids.append(Grid(network=[name], depth=[depth], seed=[seed]))
    return grids


def _stored(study: Study, path: Path, below: float) -> dict[tuple[str, int], dict[int, bool]]:
    """Return which depths were tried in `path`: (network, seed) -> depth -> whether it trained."""
    store = StudyStore(path)
    if not (store.path / "study.toml").exists():
        return {}
    store.check_code(study)
    runs = pd.DataFrame(read_runs(path))
    return {} if runs.empty else tried(runs[runs["network"].isin(study.grid.network)], below)
