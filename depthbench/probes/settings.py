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
    """Also store the first N uses of each layer that a step uses several times, in rows `name[0]`, ... The
    row of the layer always covers all uses."""
