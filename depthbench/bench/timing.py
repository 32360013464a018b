"""Time a number of steps."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch

from depthbench.machine.device import wait_for


class Timing(NamedTuple):
    """The start and end of `steps` steps, in seconds of a clock that all processes share."""

    label: str
    steps: int
    began: float
    ended: float


def timed(label: str, advance: Callable[[], object], steps: int, device: torch.device) -> Timing:
    """Call `advance` `steps` times. Waits for the GPU, if there is one, at both ends."""
    began = _now(device)
    for _ in range(steps):
        advance()
    return Timing(label, steps, began, _now(device))


def alternate(
    pair: Mapping[str, Callable[[], object]], turns: Sequence[int], device: torch.device
) -> list[Timing]:
    """Time the steps of both loops of `pair` in each turn. Each loop starts alternately."""
    timings = []
    for i, steps in enumerate(turns):
        for label, advance in list(pair.items())[:: -1 if i % 2 else 1]:
            timings.append(timed(label, advance, steps, device))
    return timings


def together(parts: list[Timing]) -> Timing:
    """Combine the timings of simultaneous processes: from the first start to the last end."""
    began, ended = min(part.began for part in parts), max(part.ended for part in parts)
    return Timing(parts[0].label, parts[0].steps, began, ended)


def _now(device: torch.device) -> float:
    wait_for(device)
    return time.perf_counter()
