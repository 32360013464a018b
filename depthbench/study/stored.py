"""The types of those parts of a stored study.toml that reading results needs. Other keys can have any value.

The networks, plug-ins and settings that it names need not exist."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from depthbench.schema import Count, Section, Seed
from depthbench.study.model import Frontier, Verdict

Whole = Annotated[Count, Field(lt=2**63)]


class _Open(Section):
    """A table with further keys."""

    model_config = ConfigDict(extra="allow")


class StoredGrid(_Open):
    """The types of a grid. A key that the file lacks has the default of `study.grid.Grid`."""

    network: Annotated[list[str], Field(min_length=1)] | None = None
    depth: Annotated[list[Whole], Field(min_length=1)] | None = None
    seed: Annotated[list[Seed], Field(min_length=1)] | None = None


class StoredData(_Open):
    """The name of the images."""

    name: str | None = None


class StoredNetwork(_Open):
    """What the caller of `depthbench.watch` states about a network."""

    residual: bool | None = None
    twin: str | None = None


class StoredEvaluate(_Open):
    """The settings of evaluations that further runs take over."""

    every: Whole | None = None
    train_size: Whole | None = None
    log_every: Whole | None = None


class StoredStudy(_Open):
    """The types of a stored study."""

    name: str | None = None
    data_hash: str = ""
    data: StoredData | None = None
    options: dict[str, Any] = {}
    recipe: dict[str, Any] = {}
    probe: dict[str, Any] = {}
    evaluate: StoredEvaluate | None = None
    grid: StoredGrid | None = None
    also: list[StoredGrid] = []
    variants: dict[str, dict[str, Any]] = {}
    frontier: Frontier | None = None
    verdict: Verdict | None = None
    plugins: list[str] = []
    may_diverge: list[str] = []
    watched: dict[str, StoredNetwork] = {}
    """The networks of runs that `depthbench.watch` recorded. Every run of such a study is one of them."""
