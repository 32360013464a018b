"""Reports: figures, tables and a page that opens offline, for one study or a comparison of several."""

from importlib import import_module
from typing import Any

__all__ = [  # typed in __init__.pyi
    "COMPARISON_FIGURES",
    "COMPARISON_TABLES",
    "FIGURES",
    "TABLES",
    "write_comparison",
    "write_report",
]

_HOMES = {
    "COMPARISON_FIGURES": "depthbench.report.figures",
    "COMPARISON_TABLES": "depthbench.report.tables",
    "FIGURES": "depthbench.report.figures",
    "TABLES": "depthbench.report.tables",
    "write_comparison": "depthbench.report.comparison",
    "write_report": "depthbench.report.page",
}


def __getattr__(name: str) -> Any:
    """Import each name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'depthbench.report' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
