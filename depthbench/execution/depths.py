"""The choice of depths of similar cost for several networks: what `grid.depth = "auto"` stands for.

The cost of a network is the number of multiply-adds of the forward pass of one image. It is counted and not
measured, so that the same command chooses the same depths everywhere and finds its runs again."""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, product, takewhile

from depthbench.data.labelled import Labelled
from depthbench.errors import BadInput, BadNetwork, one_line
from depthbench.execution.cost.images import ImageFootprint
from depthbench.execution.cost.run_memory import Cell, count_run
from depthbench.execution.plugin_checks import check_plugins
from depthbench.machine.units import in_count
from depthbench.networks import NETWORKS, DepthList, DepthRule
from depthbench.registry import look_up
from depthbench.study.grid import Grid
from depthbench.study.model import Run, Study
from depthbench.text import listed

SHALLOWEST, DEEPEST = 8, 200  # layers, where a paper lists none; the smallest CIFAR ResNet has 8
LEVELS = 3  # number of costs; every network gets a depth for each, if it has one
FACTORS = (4, 2)  # each cost is this many times the one before
MOST_RISE = 32  # limit of first cost / lowest cost; otherwise one costly network would raise all costs
SIMILAR = math.sqrt(2)  # costs that differ by less than this factor are similar


@dataclass(frozen=True)
class Ladder:
    """The depths of one network that can be chosen, in ascending order."""

    network: str
    depths: Sequence[int]
    cost_of: Callable[[int], int]
    """Depth -> multiply-adds, which rise with the depth."""

    @property
    def lowest(self) -> int:
        """The cost of the shallowest depth."""
        return self.cost_of(self.depths[0])

    def nearest(self, cost: float) -> int:
        """Return the depth with the nearest cost, as a ratio.

        Each count builds a network. To need few counts, and none of far higher cost, the position in the list
        is doubled until the cost is reached. Then it is interpolated, because costs are about linear."""
        low, high = -1, 0  # positions: the cost of `low` is below `cost`, and that of `high` is not
        while high < len(self.depths) and self.cost_of(self.depths[high]) < cost:
            low, high = high, min(2 * high + 1, max(high + 1, len(self.depths) - 1))
        while 0 <= low < high - 1:
            below, above = self.cost_of(self.depths[low]), self.cost_of(self.depths[high])
            guess = low + round((high - low) * (cost - below) / max(1, above - below))
            middle = min(max(guess, low + 1), high - 1)
            low, high = (middle, high) if self.cost_of(self.depths[middle]) < cost else (low, middle)
        return min(self.depths[max(0, low) : high + 1], key=lambda depth: self.ratio(depth, cost))

    def ratio(self, depth: int, cost: float) -> float:
        """Return the factor, at least 1, by which the cost of `depth` differs from `cost`."""
        own = self.cost_of(depth)
        return max(own / cost, cost / own)

    def similar(self, costs: Sequence[float]) -> dict[int, float]:
        """Return the depths of similar cost to one of `costs`: depth -> this cost."""
        return {depth: cost for cost in costs if self.ratio(depth := self.nearest(cost), cost) < SIMILAR}


@dataclass(frozen=True)
class DepthChoice:
    """The depths that were chosen, and why."""

    depths: Mapping[str, tuple[int, ...]]
    """Network -> its depths."""
    reasons: Mapping[Cell, str]
    """(network, depth) -> the multiply-adds that it was chosen for, in words."""
    notes: tuple[str, ...]
    """The costs, and the networks that have no depth of such a cost, a line each."""


def choose_depths(study: Study, images: Labelled) -> tuple[Study, DepthChoice | None]:
    """Return `study` with depths in place of "auto" in its grids, and what was chosen (None without "auto").

    Raises BadInput if a network of a plug-in cannot be built at a depth that is considered."""
    names = list(dict.fromkeys(name for grid in study.all_grids if grid.is_auto for name in grid.network))
    if not names:
        return study, None
    depths = {name: depths_to_choose_from(study.family(name).depths) for name in names}
    first, *others = [Grid(network=[name], depth=each[:1], seed=[0]) for name, each in depths.items()]
    shallowest = study.model_copy(update={"grid": first, "also": others})
    checked = check_plugins(shallowest, images)
    footprint = ImageFootprint.of_task(images.task, held=0, evaluated=0)
    ladders = [
        Ladder(run.network, depths[run.network], _counting(run, footprint)) for run in shallowest.runs()
    ]
    size = "x".join(map(str, images.shape))
    one = f"image of {size}" if len(images.shape) == 3 else f"sequence of {size} tokens"
    choice = _choose(ladders, one)
    choice = replace(choice, notes=(*choice.notes, *checked))
    grids = [each for grid in study.all_grids for each in _with_depths(grid, choice.depths)]
    return study.model_copy(update={"grid": grids[0], "also": grids[1:]}), choice


def _with_depths(grid: Grid, depths: Mapping[str, tuple[int, ...]]) -> list[Grid]:
    """Return the grid with chosen depths: a grid for each set of networks that have the same ones."""
    if not grid.is_auto:
        return [grid]
    networks: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for name in grid.network:
        networks[depths[name]].append(name)
    return [Grid(network=names, depth=list(each), seed=grid.seed) for each, names in networks.items()]


def depths_to_choose_from(rule: DepthRule | DepthList) -> list[int]:
    """Return the depths of a family from SHALLOWEST to DEEPEST, and those that its paper lists.

    Returns its shallowest depth if there are none."""
    of_paper = rule.depths if isinstance(rule, DepthList) else ()
    depths = (rule.depth(n) for n in count(len(of_paper) + 1))
    others = takewhile(lambda depth: depth is not None and depth <= DEEPEST, depths)
    first = rule.depth(1)
    assert first is not None  # every family has a shallowest depth
    return [*of_paper, *(depth for depth in others if depth and depth >= SHALLOWEST)] or [first]


def _counting(run: Run, footprint: ImageFootprint) -> Callable[[int], int]:
    """Return a function that counts the multiply-adds of the network of `run` at another depth.

    It raises BadInput if the network is that of a plug-in and fails there."""

    def cost_of(depth: int) -> int:
        try:
            return count_run(run.model_copy(update={"depth": depth}), footprint).multiply_adds
        except BadNetwork as error:
            raise BadInput(f"network {run.network!r} at depth {depth}: {error}") from None
        except Exception as error:
            if look_up(NETWORKS, "network", run.family).is_ours:
                raise
            raise BadInput(
                f"network {run.network!r} at depth {depth}: its code raised {one_line(error)}; fix its "
                "plug-in, or list depths instead of auto"
            ) from error

    return cost_of


def _choose(ladders: Sequence[Ladder], image: str) -> DepthChoice:
    costs = choose_costs(ladders)
    words = [in_count(cost) for cost in costs]
    depths: dict[str, tuple[int, ...]] = {}
    reasons: dict[Cell, str] = {}
    lowest = [
        f"{ladder.network} at depth {ladder.depths[0]}" for ladder in ladders if ladder.lowest == costs[0]
    ]
    notes = [
        f"auto: depths of about {listed(words)} multiply-adds per {image}; the first is the "
        f"cost of {listed(lowest)}"
    ]
    for ladder in ladders:
        chosen = ladder.similar(costs)
        if missing := [word for cost, word in zip(costs, words, strict=True) if cost not in chosen.values()]:
            notes.append(f"auto: {_note(ladder, costs, missing)}")
        reasons |= {(ladder.network, depth): f"about {in_count(cost)}" for depth, cost in chosen.items()}
        depths[ladder.network] = tuple(chosen)
        if not chosen:
            nearest, _ = _closest(ladder, costs)
            depths[ladder.network] = (nearest,)
            reasons[ladder.network, nearest] = "the nearest"
    return DepthChoice(depths, reasons, tuple(notes))


def choose_costs(ladders: Sequence[Ladder]) -> tuple[float, ...]:
    """Return LEVELS costs for which the networks have as many depths of similar cost as possible.

    The first is the lowest cost of one of the networks that have several depths. Among equally good
    choices, the lowest first cost wins, then the largest of FACTORS."""
    ordered = sorted(ladders, key=lambda ladder: ladder.lowest)
    several = [ladder.lowest for ladder in ordered if len(ladder.depths) > 1] or [ordered[0].lowest]
    firsts = [first for first in several if first <= MOST_RISE * several[0]]
    best, most = (0, 0), -1
    for first, factor in product(firsts, sorted(FACTORS)):
        matches = 0
        for counted, ladder in enumerate(ordered, 1):
            matches += len(ladder.similar(_costs(first, factor)))
            if matches + LEVELS * (len(ordered) - counted) < most:
                break  # before more expensive networks are counted
        if (matches, -first, factor) > (most, -best[0], best[1]):
            best, most = (first, factor), matches
    return _costs(*best)


def _costs(first: int, factor: int) -> tuple[float, ...]:
    return tuple(float(first * factor**level) for level in range(LEVELS))


def _closest(ladder: Ladder, costs: Sequence[float]) -> tuple[int, float]:
    """Return the depth of the network and the one of `costs` that are nearest to each other."""
    pairs = [(ladder.nearest(cost), cost) for cost in costs]
    return min(pairs, key=lambda pair: ladder.ratio(*pair))


def _note(ladder: Ladder, costs: Sequence[float], missing: Sequence[str]) -> str:
    """Say that a network has no depth for the `missing` of `costs`."""
    if len(missing) < len(costs):
        none = f"{ladder.network} has no depth of about {listed(missing)}"
        if len(ladder.depths) == 1:
            return f"{none}: its only depth is {ladder.depths[0]}"
        return f"{none} between {ladder.depths[0]} and {ladder.depths[-1]} layers"
    depth, cost = _closest(ladder, costs)
    own = ladder.cost_of(depth)
    places = {ladder.depths[-1]: "deepest", ladder.depths[0]: "shallowest"}
    which = places.get(depth, "nearest") if len(ladder.depths) > 1 else "only"
    than = {costs[0]: "lowest", costs[-1]: "highest"}.get(cost, "nearest")
    return (
        f"{ladder.network} has no depth of similar cost: its {which} depth, {depth}, has {in_count(own)} "
        f"multiply-adds, {own / cost:.2g} times the {than} of these"
    )
