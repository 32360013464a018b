"""The section `[probe]` of a study: what to measure in each layer, and when. No torch here."""

from typing import Annotated

from pydantic import Field

from depthbench.probes import DEFAULT, PROBES
from depthbench.registry import is_in
from depthbench.schema import Count, Section


class Probe(Section):
    """What to measure in each layer, and when. Step k is update k + 1, measured before it is made."""

    names: list[Annotated[str, is_in(PROBES)]] = list(DEFAULT)
    """Entries of PROBES (`depthbench list probes`)."""
    steps: list[Annotated[int, Field(ge=0)]] | None = None
    """The steps at which layers are measured. Unset: 0, 1, 2, 5, 10, 20, 50, ... and the last step."""
    every: Count | None = None
    """Also measure every N steps, from step 0 on."""
    each_use: Count | None = None
    """If a step uses a layer several times, also store its first N uses, in rows `name[0]`, ... The row of
    the layer covers all uses."""
    coordinates: Count | None = None
    """Coordinate check: measure the size of the activations on a fixed batch before training and after each
    of the first N steps. The report judges whether size and change depend on the depth. Unset: not
    measured."""

    def is_due(self, step: int, last: int | None = None) -> bool:
        """Return whether layers are measured at `step`. last: the run's last step, or None if unknown."""
        if not self.names:
            return False
        if self.every is not None and step % self.every == 0:
            return True
        if self.steps is not None:
            return step in self.steps
        return step in (0, last) or str(step).rstrip("0") in ("1", "2", "5")
