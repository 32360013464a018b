"""depthbench's own loop, as in `depthbench run`: one Trainer, or several that take turns."""

from functools import cached_property
from typing import Any

import torch

from depthbench.bench.case import ENDLESS, Case
from depthbench.bench.timing import Timing, alternate, timed
from depthbench.training.mode import StepMode, TrainingMode
from depthbench.training.trainer import Trainer

PAIRS = 16  # alternations in a segment; slow changes of the machine would hide a ratio of 1 %
CADENCE = 300  # steps of a whole run on digits
CADENCE_PART = 10  # steps of each turn

NO_PROBES: dict[str, Any] = {"names": []}  # sections [probe] of a study
PROBES_AT_EVERY_STEP: dict[str, Any] = {"every": 1}
DEFAULT_PROBES: dict[str, Any] = {}


class Ours:
    """The contender that trains as depthbench does. `lanes` runs take turns in this process, step by step."""

    def __init__(self, case: Case, device: torch.device, step: StepMode = "auto", lanes: int = 1):
        self.case, self.device, self.images = case, device, case.images()
        self.mode = TrainingMode(str(device), step)
        self.lanes = [self.trainer(NO_PROBES) for _ in range(lanes)]
        self.unprobed = self.lanes[0]

    def trainer(self, probe: dict[str, Any], steps: int = ENDLESS) -> Trainer:
        return Trainer(self.case.run(probe, steps), self.images, self.mode)

    @cached_property
    def probed(self) -> Trainer:
        return self.trainer(PROBES_AT_EVERY_STEP)

    def measure(self, mode: str, steps: int) -> list[Timing]:
        """Time `steps` steps.

        steps: unprobed steps in each lane. probes: unprobed steps and steps that are all probed, alternately.
        cadence: a run of the digits study without probes and with its probes, alternately."""
        if mode == "steps":
            return [timed("off", self._advance_all, steps, self.device)]
        if mode == "probes":
            pair = {"off": self.unprobed, "every step": self.probed}
            return self._alternate(pair, turns_of(steps))
        turns = [CADENCE_PART] * (steps // CADENCE_PART)
        pair = {
            "off": self.trainer(NO_PROBES, steps=steps),
            "default": self.trainer(DEFAULT_PROBES, steps=steps),
        }
        return self._alternate(pair, turns)

    def _advance_all(self) -> None:
        for trainer in self.lanes:
            trainer.advance()

    def _alternate(self, pair: dict[str, Trainer], turns: list[int]) -> list[Timing]:
        steps = {label: trainer.advance for label, trainer in pair.items()}
        return alternate(steps, turns, self.device)


def turns_of(steps: int) -> list[int]:
    """Divide the steps of a segment into turns, in which two loops alternate."""
    pairs = min(PAIRS, steps)
    return [(steps + i) // pairs for i in range(pairs)]
