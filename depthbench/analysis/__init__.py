"""DataFrame -> DataFrame: what the figures and tables of a report show. No torch, no drawing here."""

from depthbench.store.record import FINISHED

STATUSES = (*FINISHED, "failed", "interrupted")
