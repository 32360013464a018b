"""depthbench's own loop, as `depthbench run` has it: a Trainer that advances, or some that take turns."""

from functools import cached_property

import torch

from depthbench.bench.case import Case
from depthbench.bench.timing import Timing, timed
from depthbench.training.mode import TrainingMode
from depthbench.training.trainer import Trainer

PAIRS = 16  # alternations within a segment: a ratio of 1 % is lost in slower changes of the machine
CADENCE = 300  # steps: all of a run of the digits study
CADENCE_PART = 10  # steps until the other has its turn

NEVER, ALWAYS, DEFAULT = {"names": []}, {"every": 1}, {}


class Ours:
    """(b) of the benchmark. step: see Trainer. lanes: runs in this process that take turns, step by step."""

    def __init__(self, case: Case, device: torch.device, step: str = "auto", lanes: int = 1):
        self.case, self.device, self.images = case, device, case.images()
        self.mode = TrainingMode(str(device), step)
        self.lanes = [self.trainer(NEVER) for _ in range(lanes)]
        self.unprobed = self.lanes[0]

    def trainer(self, probe: dict, **length: int) -> Trainer:
        return Trainer(self.case.run(probe, **length), self.images, self.mode)

    @cached_property
    def probed(self) -> Trainer:
        return self.trainer(ALWAYS)

    def measure(self, mode: str, steps: int) -> list[Timing]:
        """steps: so many unprobed ones in each lane. probes: so many unprobed and as many probed at every
        step, in short turns. cadence: a run of so many steps of the digits study, without and with its
        probes, in short turns."""
        if mode == "steps":
            return [timed("off", self._advance_all, steps, self.device)]
        if mode == "probes":
            pairs = min(PAIRS, steps)
            turns = [(steps + i) // pairs for i in range(pairs)]
            return self._in_turns({"off": self.unprobed, "every step": self.probed}, turns)
        turns = [CADENCE_PART] * (steps // CADENCE_PART)
        pair = {"off": self.trainer(NEVER, steps=steps), "default": self.trainer(DEFAULT, steps=steps)}
        return self._in_turns(pair, turns)

    def _advance_all(self) -> None:
        for trainer in self.lanes:
            trainer.advance()

    def _in_turns(self, pair: dict[str, Trainer], turns: list[int]) -> list[Timing]:
        """Both of a pair have each turn; who begins changes."""
        timings = []
        for i, steps in enumerate(turns):
            for label, trainer in list(pair.items())[:: -1 if i % 2 else 1]:
                timings.append(timed(label, trainer.advance, steps, self.device))
        return timings
