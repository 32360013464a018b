"""The settings that differ between the studies of a comparison."""

from depthbench.report.entries import ReportTable, Table
from depthbench.report.evidence import Comparison

COMMIT = r"\b([0-9a-f]{12})[0-9a-f]{28}\b"  # twelve digits identify it, and the table fits on a page


def build(compared: Comparison) -> Table:
    settings = compared.settings
    nothing = "No setting differs between the studies."
    if settings.empty and any("watched" in each.study for each in compared.studies.values()):
        nothing = (
            "No stated setting differs between the studies. Of a training loop that depthbench.watch "
            "measured, only the settings that it stated are known."
        )
    return Table(
        "Settings, environment and execution that differ between the studies.",
        settings,
        settings.astype(str).replace(COMMIT, r"\1", regex=True),
        nothing=nothing,
    )


TABLE = ReportTable(build, title="Settings that differ")
