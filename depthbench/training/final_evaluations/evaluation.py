"""The interface of a final evaluation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor, nn

from depthbench.data.batches import Inputs
from depthbench.data.pixels import Pixels
from depthbench.study.model import Run
from depthbench.training.team import ALONE, Team

if TYPE_CHECKING:
    import pandas as pd

ShouldStop = Callable[[], bool]
"""Asked between batches. True interrupts the evaluation. All processes of a team must ask equally often, and
all get the same answer."""

Notify = Callable[[str], None]
"""Receives a short description of each part of the evaluation as it begins."""


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """A trained network and the test images that it is evaluated on."""

    run: Run
    network: nn.Module
    x: Pixels  # images (N, C, H, W) uint8 or tokens (N, T), on the device or on the host
    y: Tensor  # (N,) labels or (N, T) next tokens, on the device
    predicted: Tensor  # as y: what the network predicts, on the device
    classes: int
    white: int  # the largest value of a pixel
    scaling: Inputs
    team: Team = ALONE
    """The processes that evaluate the network. All make every final evaluation, and can share the images."""

    @property
    def precision(self) -> str:
        """The precision of the forward pass."""
        return self.run.recipe.precision


@dataclass(frozen=True, eq=False)
class Outcome:
    """The results of one final evaluation.

    `numbers` are added to the final errors of run.json. Their names are among those that the entry
    declares."""

    numbers: Mapping[str, float] = field(default_factory=dict)
    table: "pd.DataFrame | None" = None


@dataclass(frozen=True)
class FinalEvaluation:
    """One measurement on the trained network.

    `applies` says whether a run is evaluated. `evaluate` returns None if `should_stop` interrupted it.
    `at_chance(run, classes)` is the outcome of a diverged run, which counts as guessing. `passes` is the
    number of forward passes per test image, from which the time left is estimated."""

    applies: Callable[[Run], bool]
    evaluate: Callable[[TrainedNetwork, ShouldStop, Notify], Outcome | None]
    at_chance: Callable[[Run, int], Outcome]
    passes: Callable[[Run], int] = lambda run: 0
