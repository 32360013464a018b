"""Analysis of stored runs: DataFrame in, DataFrame out. No I/O, no drawing, no torch."""

from depthbench.store.record import FINISHED

STATUSES = (*FINISHED, "failed", "interrupted")
