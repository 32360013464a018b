"""DataFrame -> DataFrame: what the figures and tables of a report show. No torch, no drawing here."""

FINISHED = ("done", "diverged")  # the statuses whose final errors count; the others have none yet
STATUSES = (*FINISHED, "failed", "interrupted")
