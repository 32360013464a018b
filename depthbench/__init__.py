"""depthbench: what does depth do to a network's trainability, and what do residual connections change?

study = load_study("quick", grid={"depth": [20, 56]})
path = run_study(study)                        # trains, probes, stores
runs, history, layers = load_results(path)     # three tidy DataFrames
page = write_report(path)                      # report/index.html, figures, tables

watch(model, "results/mine") measures a training loop of your own.
"""

from importlib import import_module
from importlib.metadata import version
from typing import Any

__version__ = version("depthbench")
__all__ = [  # typed in __init__.pyi
    "BadInput",
    "RunsFailed",
    "find_frontier",
    "load_predictions",
    "load_results",
    "load_study",
    "merge_results",
    "run_study",
    "watch",
    "write_comparison",
    "write_report",
]

_HOMES = {
    "BadInput": "depthbench.errors",
    "RunsFailed": "depthbench.errors",
    "find_frontier": "depthbench.execution.frontier",
    "load_predictions": "depthbench.store.results",
    "load_results": "depthbench.store.results",
    "load_study": "depthbench.study.file",
    "merge_results": "depthbench.store.merge",
    "run_study": "depthbench.execution.run",
    "watch": "depthbench.watching.watch",
    "write_comparison": "depthbench.report.comparison",
    "write_report": "depthbench.report",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, because reading results must not import torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'depthbench' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
