"""The names that plug-ins can import. Each is imported on first use, and torch only if a name needs it.

A plug-in is a Python file with one or more of these dicts. Each maps names to entries:

| dict | entry | arguments -> result |
| ---- | ----- | ----------------------------------- |
| `NETWORKS` | a class or function, or a `Family` | `(depth, in_channels, num_classes, **options)` -> module |
| `DATASETS` | a function, or an `Entry` | `(data_dir)` -> `Images` |
| `PROBES` | a `Probe` | a tensor of a layer -> a number |
| `OPTIMIZERS` | a class, or an `Optimizer` | `(parameter_groups, lr, **settings)` -> optimiser |
| `FIGURES` | a function, or a `ReportFigure` | `(evidence)` -> matplotlib figure or None |
| `TABLES` | a function, or a `ReportTable` | `(evidence)` -> `Table` or None |

A network's module takes images (B, C, H, W) float32 and returns logits (B, num_classes). Keyword parameters
of its builder are options: `--set options.NAME=VALUE`, `[options]` and `[variants.V.options]` set them, and
their annotations say which values are allowed.

A plug-in may import the Python files next to it. `depthbench new network NAME` writes an example, and
`depthbench check FILE` looks for mistakes. Installed packages register entries with entry points of the
groups depthbench.networks, .datasets, .probes, .optimizers, .figures and .tables."""

from importlib import import_module
from typing import Any

__all__ = [  # typed in __init__.pyi
    "BadInput",
    "DepthList",
    "DepthRule",
    "Entry",
    "Evidence",
    "Family",
    "Images",
    "Layer",
    "Optimizer",
    "Probe",
    "ReportFigure",
    "ReportTable",
    "Series",
    "Structure",
    "Table",
    "check_plugin",
    "depth_colours",
    "describe",
    "load_plugin",
    "network_looks",
    "problem_of_images",
    "weighted_layers",
]

_HOMES = {
    "BadInput": "depthbench.errors",
    "DepthList": "depthbench.networks.family",
    "DepthRule": "depthbench.networks.family",
    "Entry": "depthbench.registry",
    "Evidence": "depthbench.report.evidence",
    "Family": "depthbench.networks.family",
    "Images": "depthbench.data.images",
    "Layer": "depthbench.networks.layers",
    "Optimizer": "depthbench.training.optimizers",
    "Probe": "depthbench.probes.probe",
    "ReportFigure": "depthbench.report.entries",
    "ReportTable": "depthbench.report.entries",
    "Series": "depthbench.report.style.tags",
    "Structure": "depthbench.networks.family",
    "Table": "depthbench.report.entries",
    "check_plugin": "depthbench.execution.plugin_checks",
    "depth_colours": "depthbench.report.style.palette",
    "describe": "depthbench.report.style.tags",
    "load_plugin": "depthbench.plugins.loading",
    "network_looks": "depthbench.report.style.palette",
    "problem_of_images": "depthbench.data.images",
    "weighted_layers": "depthbench.networks.layers",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'depthbench.plugins' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
