"""The order in which the runs of a study start: the most expensive first."""

from collections.abc import Iterable

from depthbench.networks import NETWORKS
from depthbench.registry import look_up
from depthbench.study.model import Run


def by_cost(runs: Iterable[Run]) -> tuple[Run, ...]:
    """Return the runs, the most expensive first. Runs of equal cost keep their order."""
    return tuple(sorted(runs, key=estimate_cost, reverse=True))


def estimate_cost(run: Run) -> float:
    """Return the cost of a run relative to other runs of its study, without building its network.

    It is the number of steps times the estimated multiply-adds of a step, which grow with the number of
    layers, the square of the width and the batch size."""
    width = run.options.width
    usual = look_up(NETWORKS, "network", run.family).unset.get("width", width)
    wider = width / usual if width and usual else 1.0
    return run.depth * wider**2 * run.recipe.batch_size * run.steps
