"""The settings that differ between the studies of a comparison."""

from depthbench.report.entries import ReportTable, Table
from depthbench.report.evidence import Comparison


def build(compared: Comparison) -> Table:
    settings = compared.settings
    return Table(
        "Settings, environment and execution that differ between the studies.",
        settings,
        settings.astype(str),
        nothing="No setting differs between the studies.",
    )


TABLE = ReportTable(build, title="Settings that differ")
