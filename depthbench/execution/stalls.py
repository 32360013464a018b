"""Detect runs that make no progress, from the events that a parent receives."""

import math
import time
from dataclasses import dataclass

from depthbench.events import Alive, Event

SHORTEST_STALL = 300.0  # seconds without progress that are allowed by default, however short the steps
STALLED_STEPS = 10  # a run has stalled after this many times its longest step without progress
SECONDS_TO_STOP = 6.0  # seconds that a run has for a step and saving, after Ctrl-C
SILENT = 10.0  # a run has probably stalled after this many seconds, and STALLED_STEPS steps, without progress
SECONDS_IF_SILENT = 3.0  # seconds that such a run has to stop


@dataclass
class LastSeen:
    """When a run in progress was last seen to progress."""

    at: float
    step: int = 0
    has_begun: bool = False
    """Whether its process has reported anything."""
    longest_step: float = 0.0


@dataclass(frozen=True)
class Stall:
    """A run that has stalled."""

    run_id: str
    seconds: float
    step: int
    has_begun: bool = True

    @property
    def reason(self) -> str:
        """Why the run is stopped, in words."""
        if not self.has_begun:
            return f"its process did not start within {in_minutes(self.seconds)}"
        return f"no progress since step {self.step} for {in_minutes(self.seconds)}"


def in_minutes(seconds: float) -> str:
    """Return a duration in words, e.g. `7.5 minutes`, and in seconds if it is short."""
    return f"{seconds:.3g} seconds" if seconds < 60 else f"{seconds / 60:.1f} minutes"


class StallWatch:
    """The runs in progress, and when each was last seen to progress.

    timeout: minutes without progress that every run is allowed. None: STALLED_STEPS times its longest step,
    but at least SHORTEST_STALL seconds."""

    def __init__(self, timeout: float | None = None):
        self.timeout = timeout
        self.seen: dict[str, LastSeen] = {}
        self.stopped_at: float | None = None
        """The time at which all runs were asked to stop."""

    def start(self, run_id: str) -> None:
        """Start watching a run."""
        self.seen[run_id] = LastSeen(time.monotonic())

    def end(self, run_id: str) -> None:
        """Stop watching a run."""
        self.seen.pop(run_id, None)

    def stop(self) -> None:
        """From now on, allow each run only the time that it needs to save its state."""
        self.stopped_at = time.monotonic()

    def see(self, event: Event) -> None:
        """Note that the run of an event progresses."""
        run = getattr(event, "run", None)
        if run is None or run.run_id not in self.seen:
            return
        seen = self.seen[run.run_id]
        seen.at, seen.has_begun = time.monotonic(), True
        seen.step = getattr(event, "step", seen.step)
        if isinstance(event, Alive):
            seen.longest_step = event.longest_step

    def forgive(self, seconds: float) -> None:
        """Do not count a pause of this process, for example of the whole machine, as a stall of the runs."""
        for seen in self.seen.values():
            seen.at += seconds

    def stalled(self) -> list[Stall]:
        """Return the runs that have stalled, the longest stalled first."""
        now = time.monotonic()
        stopped_at = -math.inf if self.stopped_at is None else self.stopped_at
        stalls = [
            Stall(run_id, now - max(seen.at, stopped_at), seen.step, seen.has_begun)
            for run_id, seen in self.seen.items()
        ]
        stalls = [stall for stall in stalls if stall.seconds > self._allowed(self.seen[stall.run_id])]
        return sorted(stalls, key=lambda stall: -stall.seconds)

    def _allowed(self, seen: LastSeen) -> float:
        """Return the seconds without progress that a run is allowed."""
        if self.stopped_at is not None:
            silent = self.stopped_at - seen.at
            if silent > max(SILENT, STALLED_STEPS * seen.longest_step):
                return SECONDS_IF_SILENT
            return max(SECONDS_TO_STOP, 2 * seen.longest_step)
        if self.timeout is not None:
            return 60 * self.timeout
        return max(SHORTEST_STALL, STALLED_STEPS * seen.longest_step)
