"""Split the runs of a study into shards, which jobs of a cluster train at the same time."""

import heapq
from collections.abc import Iterable

from depthbench.execution.cost.order import estimate_cost
from depthbench.study.model import Run


def shard_of(runs: Iterable[Run], index: int, count: int) -> tuple[Run, ...]:
    """Return the runs of shard `index` (1 to `count`), the most expensive ones first.

    Each run belongs to exactly one shard. The split depends on the runs alone and not on their order, so that
    jobs that start at different times agree on it. The next most expensive run goes to the shard with the
    least cost so far. The largest shard then costs at most a third more than in the best split (Graham
    1969, SIAM J. Appl. Math. 17, 416)."""
    loads = [(0.0, shard) for shard in range(1, count + 1)]
    chosen = []
    for run in sorted(runs, key=lambda run: (-estimate_cost(run), run.network, run.depth, run.seed)):
        load, shard = loads[0]
        heapq.heapreplace(loads, (load + estimate_cost(run), shard))
        if shard == index:
            chosen.append(run)
    return tuple(chosen)
