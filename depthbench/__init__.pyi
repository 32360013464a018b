"""The types of the public API, which __init__.py imports when a name is first used."""

from depthbench.errors import BadInput as BadInput
from depthbench.errors import RunsFailed as RunsFailed
from depthbench.execution.frontier import find_frontier as find_frontier
from depthbench.execution.run import run_study as run_study
from depthbench.report.comparison import write_comparison as write_comparison
from depthbench.report.page import write_report as write_report
from depthbench.store.merge import merge_results as merge_results
from depthbench.store.results import load_predictions as load_predictions
from depthbench.store.results import load_results as load_results
from depthbench.study.file import load_study as load_study
from depthbench.watching.watch import watch as watch

__version__: str
