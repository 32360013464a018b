"""The search for the frontier, the deepest depth at which a network still trains."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from depthbench.analysis.frontier import frontiers, most_n, next_depth, summarise, tried
from depthbench.errors import BadInput
from depthbench.events import Display
from depthbench.execution.plan import Decoding, Plan, make_plan
from depthbench.execution.run import execute
from depthbench.execution.settings import Execution
from depthbench.store.results import load_results, read_runs
from depthbench.store.study_store import StudyStore
from depthbench.study.file import build
from depthbench.study.grid import Grid
from depthbench.study.model import Frontier, Study
from depthbench.training.mode import StepMode

Planner = Callable[[Study, Execution], Plan]


@dataclass(frozen=True)
class FoundFrontier:
    """What a search found."""

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
    results: str | Path = "results",
    *,
    networks: Sequence[str] | None = None,
    below: float | None = None,
    deepest: int | None = None,
    name: str | None = None,
    device: str = "auto",
    jobs: int | None = None,
    recompute: bool | None = None,
    step: StepMode = "auto",
    data_dir: str | Path | None = None,
    decoding: Decoding = lambda done, total: None,
    display: Display | None = None,
    execution: Execution | None = None,
    planner: Planner | None = None,
) -> FoundFrontier:
    """Find the deepest depth at which each network of `study` still trains, for each seed.

    Trains runs with the study's data and recipe at depths chosen by doubling and bisection. Finished runs are
    not trained again, so an interrupted search resumes.

    networks: names in NETWORKS or among the study's variants; the study's own if not given. below: a run
    trains if its final train error, in evaluation mode, is below this many percent. deepest: the maximum
    depth to try. Both default to the study's values. name: of the study that stores the runs;
    `frontier-STUDY` if not given. planner: makes the plan of each round, e.g. to show its progress. The other
    settings are those of `run_study`.

    Raises BadInput for an unknown network, a bad limit and a network without a depth up to `deepest`, and if
    the runs that the search needs next failed. Raises errors.Interrupted after Ctrl-C."""
    limits = {"below": below, "deepest": deepest}
    chosen = {key: value for key, value in limits.items() if value is not None}
    frontier = build(Frontier, (study.frontier or Frontier()).model_dump() | chosen, "frontier")
    grid = study.grid.model_copy(update={"network": list(networks or study.grid.network)})
    study = study.model_copy(
        update={"grid": grid, "also": [], "frontier": frontier, "name": name or f"frontier-{study.name}"}
    )
    execution = execution or Execution(
        results=Path(results),
        device=device,
        jobs=jobs,
        recompute=recompute,
        step_mode=step,
        data_dir=None if data_dir is None else Path(data_dir),
    )
    planner = planner or (lambda study, execution: make_plan(study, execution, decoding=decoding))
    path = execution.results / study.name
    for plan in search(study, path, lambda study: planner(study, execution)):
        execute(plan, display)
    runs = load_results(path).runs
    by_seed = frontiers(runs, frontier.below)
    return FoundFrontier(path, frontier.below, by_seed, summarise(by_seed, runs))


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
            raise BadInput(f"--deepest {limits.deepest}: {name} has no depth that shallow")
    before = None
    while wanted := _next_grids(study, path, limits.below, most):
        if wanted == before:  # these runs failed and would fail forever
            raise BadInput(
                f"{path}: the runs that the search needs next failed; see `depthbench show {path}`"
            )
        first, *others = before = wanted
        yield planner(study.model_copy(update={"grid": first, "also": others}))
    if before is None:
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
    """Return `tried` of the study's networks in the results directory `path`."""
    store = StudyStore(path)
    if not (store.path / "study.toml").exists():
        return {}
    store.check_code(study)
    runs = pd.DataFrame(read_runs(path))
    return {} if runs.empty else tried(runs[runs["network"].isin(study.grid.network)], below)
