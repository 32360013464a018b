"""depthbench: what does depth do to a network's trainability, and what do residual connections change?

study = load_study("quick", grid={"depth": [20, 56]})
path = run_study(study)                        # trains, probes, stores
runs, history, layers = load_results(path)     # three tidy DataFrames
page = write_report(path)                      # report/index.html, figures, tables
"""

from importlib import import_module
from importlib.metadata import version

__version__ = version("depthbench")
__all__ = [
    "BadInput",
    "load_predictions",
    "load_results",
    "load_study",
    "run_study",
    "write_comparison",
    "write_report",
]

_HOMES = {
    "BadInput": "depthbench.errors",
    "load_study": "depthbench.study.file",
    "run_study": "depthbench.execution.run",
    "load_predictions": "depthbench.store.results",
    "load_results": "depthbench.store.results",
    "write_report": "depthbench.report",
    "write_comparison": "depthbench.report.comparison",
}


def __getattr__(name: str):
    """Each is imported when it is first used: reading results needs no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'depthbench' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
