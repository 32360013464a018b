"""How long runs take when several go at once."""

import heapq
from collections.abc import Iterable


def makespan(seconds: Iterable[float], jobs: int) -> float:
    """Seconds until runs of so many seconds each have ended, taken in this order, `jobs` at once: the next
    goes to the job that is free first. With the longest first, that is at most a third longer than the best
    there is (Graham 1969, SIAM J. Appl. Math. 17, 416)."""
    ends = [0.0] * jobs
    for duration in seconds:
        heapq.heapreplace(ends, ends[0] + duration)
    return max(ends)
