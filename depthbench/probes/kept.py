"""Gradients that are kept for the probes of the next step."""

from collections.abc import Mapping

import torch
from torch import Tensor


class KeptGradients:
    """Copies of the gradients of one batch, kept until the next batch has been compared with them.

    The copies stay at their addresses, so that a captured step can write them and another one can read
    them."""

    def __init__(self) -> None:
        self._copies: dict[str, Tensor] = {}
        self._current: tuple[str, ...] = ()

    def keep(self, gradients: Mapping[str, Tensor]) -> None:
        """Copy the gradients of layers, by name."""
        for name, gradient in gradients.items():
            copy = self._copies.get(name)
            if copy is None or copy.shape != gradient.shape or copy.dtype != gradient.dtype:
                self._copies[name] = gradient.detach().clone()
            else:
                copy.copy_(gradient.detach())
        self._current = tuple(gradients)

    def note_replay(self, keeps: bool) -> None:
        """Note that a captured step was replayed. keeps: whether it wrote gradients to the copies."""
        self._current = tuple(self._copies) if keeps else ()

    def take(self) -> dict[str, Tensor]:
        """Return the gradients of the batch before, and forget them. Empty if none were kept."""
        names, self._current = self._current, ()
        return {name: self._copies[name] for name in names}

    def state(self) -> dict[str, Tensor]:
        """Return what the next batch will be compared with, for a checkpoint."""
        return {name: self._copies[name] for name in self._current}

    def restore(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        """Go back to `state`."""
        self._copies = {name: gradient.to(device) for name, gradient in state.items()}
        self._current = tuple(state)
