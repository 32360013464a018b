"""Some steps, timed."""

import time
from collections.abc import Callable
from typing import NamedTuple

import torch

from depthbench.machine.device import wait_for


class Timing(NamedTuple):
    """`steps` steps of one kind, from `began` to `ended`: seconds of a clock that all processes share."""

    label: str
    steps: int
    began: float
    ended: float


def timed(label: str, advance: Callable[[], object], steps: int, device: torch.device) -> Timing:
    """Call `advance` so often. A GPU has done all it was asked to at both ends."""
    began = _now(device)
    for _ in range(steps):
        advance()
    return Timing(label, steps, began, _now(device))


def together(parts: list[Timing]) -> Timing:
    """The same steps made in several processes at once: from the first start to the last end."""
    began, ended = min(part.began for part in parts), max(part.ended for part in parts)
    return Timing(parts[0].label, parts[0].steps, began, ended)


def _now(device: torch.device) -> float:
    wait_for(device)
    return time.perf_counter()
