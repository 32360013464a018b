"""What is stored of one run."""

from typing import Any

from depthbench.study.model import FORMAT, Run

FINISHED = ("done", "diverged")  # a run that is never trained again

ALWAYS = ("history", "layers")  # tables that each finished run has


def describe(run: Run) -> dict[str, Any]:
    """What run.json says of a run before it starts."""
    return {
        "format": FORMAT,
        "run_id": run.run_id,
        "network": run.network,
        "depth": run.depth,
        "seed": run.seed,
        "status": "interrupted",
        "run": run.model_dump(mode="json"),
    }
