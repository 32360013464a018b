"""The time that several jobs need for a list of runs."""

import heapq
from collections.abc import Iterable


def makespan(seconds: Iterable[float], jobs: int) -> float:
    """Return the seconds until all runs have ended if they start in this order, `jobs` at once.

    The next run goes to the job that is free first. If the longest runs come first, this takes at most a
    third longer than the best schedule (Graham 1969, SIAM J. Appl. Math. 17, 416)."""
    ends = [0.0] * jobs
    for duration in seconds:
        heapq.heapreplace(ends, ends[0] + duration)
    return max(ends)
