"""Runs that `depthbench.watch` records in a user's training loop. No torch here.

depthbench knows only what the caller states about such a run and what it measures. The recipe, the options of
the network and the images are unknown. No defaults replace them."""

import hashlib
import json
from typing import Annotated, Any

import tomli_w
from pydantic import AfterValidator, model_validator

from depthbench.networks import NETWORKS
from depthbench.probes import PROBES
from depthbench.probes.settings import Probe
from depthbench.schema import Count, Section, Seed
from depthbench.study.grid import Grids
from depthbench.study.model import FORMAT, file_name

UNKNOWN_DATA = "data not stated"
"""The name of the images if the caller does not state one."""


def own_name(value: str) -> str:
    """Return a valid name of a network. Raises ValueError with the end of a message about the name."""
    if value in NETWORKS:
        raise ValueError("is the name of a network of depthbench; use another one")
    return file_name(value)


class WatchedNetwork(Section):
    """What the caller states about a network."""

    residual: bool | None = None
    """Whether it has residual connections. None: not stated."""
    twin: str | None = None
    """The network that differs only in its residual connections. None: not stated."""


class WatchedRun(WatchedNetwork):
    """One network at one depth with one seed, trained once in a user's training loop."""

    network: Annotated[str, AfterValidator(own_name)]
    depth: Count
    seed: Seed
    data: str = UNKNOWN_DATA
    probe: Probe = Probe()
    steps: Count | None = None
    """Updates planned. None: not stated."""
    classes: Annotated[int, AfterValidator(lambda count: _at_least_two(count))] | None = None
    """Number of classes, from which chance error follows. None: not stated."""

    @model_validator(mode="after")
    def _check(self) -> "WatchedRun":
        if self.twin is not None and self.residual is None:
            raise ValueError("twin needs residual: say which of the two has residual connections")
        if self.twin == self.network:
            raise ValueError(f"twin = {self.twin!r}: a network is not its own twin")
        if self.steps is not None and (late := [s for s in self.probe.steps or [] if s >= self.steps]):
            raise ValueError(f"probe_steps contains {late[0]}, but the steps are 0 to {self.steps - 1}")
        return self

    @property
    def run_id(self) -> str:
        """A readable and stable name. It depends on the network, the depth and the seed only."""
        content = {"watched": [self.network, self.depth, self.seed], "format": FORMAT}
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:6]
        return f"{self.network}-{self.depth}-s{self.seed}-{digest}"

    @property
    def chance_error(self) -> float | None:
        """The error of guessing among classes of equal size, in percent."""
        return None if self.classes is None else 100 * (1 - 1 / self.classes)

    @property
    def stated(self) -> WatchedNetwork:
        """What is stated about the network."""
        return WatchedNetwork(residual=self.residual, twin=self.twin)

    def settings(self) -> dict[str, Any]:
        """Return the settings of the run, for run.json."""
        plugins = sorted({PROBES[name].source for name in self.probe.names} - {""})
        return {
            "network": self.network,
            "depth": self.depth,
            "seed": self.seed,
            "watched": self.stated.model_dump(exclude_none=True),
            "data": {"name": self.data},
            "probe": self.probe.model_dump(mode="json", exclude_none=True),
            **({"plugin": "+".join(plugins)} if plugins else {}),
        }


def _at_least_two(count: int) -> int:
    if count < 2:
        raise ValueError("should be at least 2")
    return count


class WatchedStudy(Grids):
    """The runs of one results directory, as study.toml lists them."""

    name: Annotated[str, AfterValidator(file_name)]
    data: str
    probe: Probe
    watched: dict[str, WatchedNetwork]

    @classmethod
    def values_of(cls, run: WatchedRun, name: str) -> dict[str, Any]:
        """Return the values of a study with one run, to be validated."""
        grid = {"network": [run.network], "depth": [run.depth], "seed": [run.seed]}
        watched = {run.network: run.stated}
        return {"name": name, "data": run.data, "probe": run.probe, "watched": watched, "grid": grid}

    def table(self) -> dict[str, Any]:
        """Return the content of study.toml."""
        content = self.model_dump(mode="json", exclude_none=True)
        return {"format": FORMAT, **content, "data": {"name": self.data}}

    def to_toml(self) -> str:
        """Return study.toml."""
        return tomli_w.dumps(self.table())
