"""Grids of runs: expanding them, joining them, and taking a part of one."""

from collections.abc import Iterator
from itertools import product
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from depthbench.schema import Count, Section, Seed, each_once


class Grid(Section):
    """The runs of a study: every network at every depth with every seed, each once."""

    network: Annotated[list[str], Field(min_length=1), AfterValidator(each_once)] = ["plain", "resnet"]
    depth: Annotated[list[Count], Field(min_length=1), AfterValidator(each_once)] = [20, 32, 44, 56, 110]
    seed: Annotated[list[Seed], Field(min_length=1), AfterValidator(each_once)] = [0, 1, 2]

    def cells(self) -> Iterator[tuple[int, str, int]]:
        """(depth, network, seed) of every run."""
        return product(self.depth, self.network, self.seed)


class Grids(Section):
    """The runs of a study that are not every combination of one grid."""

    grid: Grid = Grid()
    also: list[Grid] = []
    """Further grids, of a study that has grown by some combinations and not by all."""


def asked_for(study: dict[str, Any]) -> list[tuple[int, str, int]]:
    """(depth, network, seed) of each run that a study.toml asks for."""
    return list(dict.fromkeys(cell for grid in grids_of(study) for cell in grid.cells()))


def grids_of(study: dict[str, Any]) -> list[Grid]:
    return [Grid.model_construct(**grid) for grid in (study.get("grid", {}), *study.get("also", []))]


def join_grids(grids: list[Grid]) -> list[Grid]:
    """Grids with the runs of `grids` and no others: one where that can be, else as few as are needed."""
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
