"""A loop of the user's own that `depthbench.watch` measures, next to the same loop without it."""

import tempfile
from collections.abc import Callable
from itertools import count

import torch
import torch.nn.functional as F

import depthbench
from depthbench.bench.case import Case
from depthbench.bench.ours import CADENCE_PART, NO_PROBES, Ours, turns_of
from depthbench.bench.timing import Timing, alternate


class Watched:
    """The contender that trains in such a loop, eagerly, with depthbench's network and batches.

    With `watch`, it also logs loss and train error at every step."""

    def __init__(self, case: Case, device: torch.device):
        self.ours, self.device = Ours(case, device, "eager"), device
        self.folder = tempfile.TemporaryDirectory(prefix="depthbench-bench-")
        self.seeds = count()
        self.plain, self.watched = self.loop(), self.loop({"every": 1})

    def loop(self, probe: dict[str, int] | None = None) -> Callable[[], None]:
        """Return a function that makes one update.

        probe: the cadence of `watch`, {} for the default; None for a loop without it."""
        trainer = self.ours.trainer(NO_PROBES)
        network, optimizer, batches = trainer.network, trainer.eager_step.optimizer, trainer.batches

        def update() -> tuple[torch.Tensor, torch.Tensor]:
            x, y = batches.images(batches.take())
            logits = network(x)
            loss = F.cross_entropy(logits, y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            with torch.no_grad():
                return loss, (logits.argmax(1) != y).float().mean() * 100

        def advance() -> None:
            update()

        if probe is None:
            return advance
        every = probe.get("every", "default")
        folder = f"{self.folder.name}/{every}"
        watch = depthbench.watch(network, folder, name="watched", seed=next(self.seeds), **probe)

        def advance_watched() -> None:
            with watch.step():
                loss, error = update()
            watch.log(loss=loss, train_error=error)

        return advance_watched

    def measure(self, mode: str, steps: int) -> list[Timing]:
        """Time `steps` updates without and with `watch`, alternately.

        probes: it measures at every step. cadence: it measures a whole run at the default cadence."""
        if mode == "probes":
            return alternate({"off": self.plain, "every step": self.watched}, turns_of(steps), self.device)
        turns = [CADENCE_PART] * (steps // CADENCE_PART)
        return alternate({"off": self.loop(), "default": self.loop({})}, turns, self.device)
