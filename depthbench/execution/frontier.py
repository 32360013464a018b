"""`depthbench frontier`: trains the depths that a search asks for, round by round, until it is settled."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

from depthbench.analysis.frontier import most_n, next_depth, tried
from depthbench.errors import BadInput
from depthbench.execution.plan import Plan
from depthbench.store.results import read_runs
from depthbench.store.study_store import StudyStore
from depthbench.study.grid import Grid
from depthbench.study.model import Frontier, Study


def search(study: Study, path: Path, prepared: Callable[[Study], Plan]) -> Iterator[Plan]:
    """The plans to execute, one after the other, to find the frontier of each network of `study` and seed.

    study: its grid names the networks and seeds; its depths are not used. path: its results directory.
    prepared: checks a study and makes its plan. What is stored is not trained again, so that an interrupted
    search goes on; where nothing is left to train, the one plan has nothing to do. Raises BadInput for an
    unknown network, one that has no depth as small as `frontier.deepest`, and where a run failed."""
    limits = study.frontier or Frontier()
    study = study.model_copy(update={"frontier": limits, "may_diverge": study.grid.network})
    most = {name: most_n(study.checked(name).depths, limits.deepest) for name in study.grid.network}
    for name, n in most.items():
        if n == 0:
            raise BadInput(f"--deepest {limits.deepest}: {name} has no depth as small as that")
    before = None
    while wanted := _wanted(study, path, limits.below, most):
        if wanted == before:  # they failed, and would for ever
            raise BadInput(
                f"{path}: the runs that the search needs next failed: see `depthbench show {path}`"
            )
        first, *others = before = wanted
        yield prepared(study.model_copy(update={"grid": first, "also": others}))
    if before is None:  # all is stored: that it is of this recipe is checked, and what is asked for is kept
        (name, seed), trained = next(iter(_stored(study, path, limits.below).items()))
        grid = Grid(network=[name], depth=[next(iter(trained))], seed=[seed])
        yield prepared(study.model_copy(update={"grid": grid}))


def _wanted(study: Study, path: Path, below: float, most: dict[str, int]) -> list[Grid]:
    """The runs that the search needs next, as grids: for each network and seed one, until it is settled."""
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
    """`tried` of the runs of the study's networks that are stored in `path`."""
    store = StudyStore(path)
    if not (store.path / "study.toml").exists():
        return {}
    store.check_code(study)
    runs = pd.DataFrame(read_runs(path))
    return {} if runs.empty else tried(runs[runs["network"].isin(study.grid.network)], below)
