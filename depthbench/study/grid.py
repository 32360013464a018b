"""Grids of runs: expand them, join them, and restrict them."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from depthbench.schema import Count, Section, Seed, each_once


class Grid(Section):
    """The runs of a study: every network at every depth with every seed."""

    network: Annotated[list[str], Field(min_length=1), AfterValidator(each_once)] = ["plain", "resnet"]
    """Networks (`depthbench list networks`) and variants of this study."""
    depth: Annotated[list[Count], Field(min_length=1), AfterValidator(each_once)] = [20, 32, 44, 56, 110]
    """Numbers of weighted layers."""
    seed: Annotated[list[Seed], Field(min_length=1), AfterValidator(each_once)] = [0, 1, 2]
    """Seeds of the initial weights, the batches and dropout."""

    def cells(self) -> Iterator[tuple[int, str, int]]:
        """Iterate over (depth, network, seed) of every run."""
        return product(self.depth, self.network, self.seed)


class Grids(Section):
    """The runs of a study, as one grid or several."""

    grid: Grid = Grid()
    also: list[Grid] = []
    """More grids, for a study whose runs are not every combination of one grid."""


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


def restrict_grids(grids: Grids, requested: Grid) -> Grids:
    """Return the runs of `grids` that `requested` selects. Only the keys that are set in `requested` count.

    Requested seeds replace those of every grid. Requested depths, or requested networks, select from every
    grid, and those that no grid has are added to the first. If both are requested, the result is one grid
    with every combination of them."""
    keys = requested.model_dump(exclude_unset=True)
    seeds = {"seed": keys["seed"]} if "seed" in keys else {}
    first, *others = (grid.model_dump() | seeds for grid in (grids.grid, *grids.also))
    axes = [axis for axis in ("network", "depth") if axis in keys]
    if len(axes) == 2:
        first, others = first | keys, []
    elif axes:
        (axis,) = axes
        elsewhere = {value for grid in others for value in grid[axis]} - set(first[axis])
        first[axis] = [value for value in keys[axis] if value not in elsewhere]
        for grid in others:
            grid[axis] = [value for value in keys[axis] if value in grid[axis]]
        first, *others = (grid for grid in (first, *others) if grid[axis])
    return Grids(grid=Grid(**first), also=[Grid(**grid) for grid in others])
