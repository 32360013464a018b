"""Grids of runs: expand them, join them, and restrict them."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import product
from typing import Annotated, Any

from pydantic import AfterValidator, Field, WrapValidator, field_serializer

from depthbench.schema import Count, Section, Seed, each_once

AUTO = "auto"


def _unless_auto(value: Any, check: Callable[[Any], list[int]]) -> list[int]:
    """Return no depths for AUTO, and what `check` returns for anything else."""
    return [] if value == AUTO else check(value)


class Grid(Section):
    """The runs of a study: every network at every depth with every seed."""

    network: Annotated[list[str], Field(min_length=1), AfterValidator(each_once)] = ["plain", "resnet"]
    """Networks (`depthbench list networks`) and variants of this study."""
    depth: Annotated[
        list[Count], Field(min_length=1), AfterValidator(each_once), WrapValidator(_unless_auto)
    ] = [20, 32, 44, 56, 110]
    """Numbers of weighted layers (transformers: of blocks), or "auto": a few depths of similar cost for each
    network. They are chosen when the images are known, and the list is empty until then."""
    seed: Annotated[list[Seed], Field(min_length=1), AfterValidator(each_once)] = [0, 1, 2]
    """Seeds of the initial weights, the batches and dropout."""

    @property
    def is_auto(self) -> bool:
        """Whether the depths are still to be chosen."""
        return not self.depth

    @field_serializer("depth")
    def _depth_or_auto(self, depth: list[int]) -> list[int] | str:
        return depth or AUTO

    def cells(self) -> Iterator[tuple[int, str, int]]:
        """Iterate over (depth, network, seed) of every run. Raises ValueError without depths."""
        if self.is_auto:
            raise ValueError("grid.depth depends on the images: call execution.depths.choose_depths first")
        return product(self.depth, self.network, self.seed)


class Grids(Section):
    """The runs of a study, as one grid or several."""

    grid: Grid = Grid()
    also: list[Grid] = []
    """More grids, for a study whose runs are not every combination of one grid."""

    @property
    def all_grids(self) -> tuple[Grid, ...]:
        """The first grid and the others."""
        return self.grid, *self.also


def requested_runs(study: Mapping[str, Any]) -> list[tuple[int, str, int]]:
    """Return (depth, network, seed) of each run that a study.toml requests."""
    return list(dict.fromkeys(cell for grid in grids_of(study) for cell in grid.cells()))


def grids_of(study: Mapping[str, Any]) -> list[Grid]:
    """Return the grids of a study.toml, without checking that their networks exist."""
    return [Grid.model_construct(**grid) for grid in (study.get("grid", {}), *study.get("also", []))]


def join_grids(grids: Sequence[Grid]) -> list[Grid]:
    """Return as few grids as possible with exactly the runs of `grids`.

    This is a single grid if the runs form one, else the largest of `grids` that together have all runs."""
    cells = {cell for grid in grids for cell in grid.cells()}
    depth, network, seed = (sorted(set(axis)) for axis in zip(*cells, strict=True))
    whole = Grid.model_construct(network=network, depth=depth, seed=seed)
    if set(whole.cells()) == cells:
        return [whole]
    kept: list[Grid] = []
    for grid in sorted(grids, key=lambda grid: -len(set(grid.cells()))):
        if not set(grid.cells()) <= {cell for other in kept for cell in other.cells()}:
            kept.append(grid)
    return kept


def restrict_grids(grids: Grids, requested: Grid, reset: Collection[str] = ()) -> Grids:
    """Return the runs of `grids` that `requested` selects. Only the keys that are set in `requested` count.

    Requested seeds, and the depth AUTO, replace those of every grid. Requested depths, or requested networks,
    select from every grid, and those that no grid has are added to the first. If both are requested, the
    result is one grid with every combination of them. reset: keys whose defaults replace the values of every
    grid."""
    keys = requested.model_dump(exclude_unset=True) | Grid().model_dump(include=set(reset))
    seeds = {"seed": keys["seed"]} if "seed" in keys else {}
    first, *others = (grid.model_dump() | seeds for grid in grids.all_grids)
    axes = [axis for axis in ("network", "depth") if axis in keys]
    if len(axes) == 2:
        first, others = first | keys, []
    elif axes:
        (axis,) = axes
        for grid in (first, *others):  # AUTO stands for any depths
            if axis in reset or AUTO in (grid[axis], keys[axis]):
                grid[axis] = keys[axis]
        if axis not in reset and keys[axis] != AUTO:
            first, *others = _selected((first, *others), axis, keys[axis])
    return Grids(grid=Grid(**first), also=[Grid(**grid) for grid in others])


def _selected(grids: Sequence[dict[str, Any]], axis: str, wanted: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the tables of `grids` with the `wanted` values of `axis` only, and omit empty ones.

    Values that no grid has are added to the first."""
    first, *others = grids
    elsewhere = {value for grid in others for value in grid[axis]} - set(first[axis])
    first = first | {axis: [value for value in wanted if value not in elsewhere]}
    others = [grid | {axis: [value for value in wanted if value in grid[axis]]} for grid in others]
    return [grid for grid in (first, *others) if grid[axis]]
