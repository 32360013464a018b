"""The types of the names that __init__.py imports when they are first used."""

from depthbench.report.comparison import write_comparison as write_comparison
from depthbench.report.figures import COMPARISON_FIGURES as COMPARISON_FIGURES
from depthbench.report.figures import FIGURES as FIGURES
from depthbench.report.page import write_report as write_report
from depthbench.report.tables import COMPARISON_TABLES as COMPARISON_TABLES
from depthbench.report.tables import TABLES as TABLES
