"""A training loop in plain PyTorch, with and without `depthbench.watch`."""

import tempfile
from collections.abc import Callable
from itertools import count

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import depthbench
from depthbench.bench.case import Case
from depthbench.bench.ours import CADENCE_PART, NO_PROBES, Ours, turns_of
from depthbench.bench.timing import Timing, alternate


class Watched:
    """A contender that trains depthbench's network and batches eagerly in such a loop.

    With `watch`, the loop also logs the loss and the train error at every step."""

    def __init__(self, case: Case, device: torch.device):
        self.ours, self.device = Ours(case, device, "eager"), device
        self.folder = tempfile.TemporaryDirectory(prefix="depthbench-bench-")
        self.seeds = count()
        self.plain, self.watched = self.loop(), self.watched_loop(every=1)

    def loop(self) -> Callable[[], object]:
        """Return a function that makes one update."""
        return self._updates()[1]

    def watched_loop(self, every: int | None) -> Callable[[], object]:
        """Return a function that makes one update with `watch`. every: None for the default cadence."""
        network, update = self._updates()
        folder = f"{self.folder.name}/{every or 'default'}"
        watch = depthbench.watch(network, folder, name="watched", seed=next(self.seeds), every=every)

        def advance() -> None:
            with watch.step():
                loss, error = update()
            watch.log(loss=loss, train_error=error)

        return advance

    def _updates(self) -> tuple[nn.Module, Callable[[], tuple[Tensor, Tensor]]]:
        """Return a network, and a function that trains it and returns the loss and the train error."""
        trainer = self.ours.trainer(NO_PROBES)
        network, optimizer, batches = trainer.network, trainer.eager_step.optimizer, trainer.batches

        def update() -> tuple[Tensor, Tensor]:
            x, y = batches.images(batches.take())
            logits = network(x)
            loss = F.cross_entropy(logits, y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            with torch.no_grad():
                return loss, (logits.argmax(1) != y).float().mean() * 100

        return network, update

    def measure(self, mode: str, steps: int) -> list[Timing]:
        """Time `steps` updates without and with `watch`, alternately.

        In the mode `probes`, `watch` measures every step. In the mode `cadence`, it measures a whole run at
        the default cadence."""
        if mode == "probes":
            return alternate({"off": self.plain, "every step": self.watched}, turns_of(steps), self.device)
        turns = [CADENCE_PART] * (steps // CADENCE_PART)
        return alternate({"off": self.loop(), "default": self.watched_loop(None)}, turns, self.device)
