"""TABLES: the tables of a report, in page order. COMPARISON_TABLES: the tables of a comparison."""

from depthbench.registry import Entry

TABLES: dict[str, Entry] = {
    "summary": Entry("depthbench.report.tables.summary:TABLE"),
    "losses": Entry("depthbench.report.tables.losses:TABLE"),
    "verdicts_train": Entry("depthbench.report.tables.verdicts:TRAIN"),
    "verdicts_test": Entry("depthbench.report.tables.verdicts:TEST"),
    "sweep_verdicts": Entry("depthbench.report.tables.sweep:VERDICTS"),
    "sweep_optima": Entry("depthbench.report.tables.sweep:OPTIMA"),
    "causes": Entry("depthbench.report.tables.causes:TABLE"),
    "deviations": Entry("depthbench.report.tables.deviations:TABLE"),
    "matched": Entry("depthbench.report.tables.matched:TABLE"),
    "diagnosis": Entry("depthbench.report.tables.diagnosis:TABLE"),
    "reach": Entry("depthbench.report.tables.reach:TABLE"),
    "frontier": Entry("depthbench.report.tables.frontier:TABLE"),
    "choice": Entry("depthbench.report.tables.choice:TABLE"),
    "runs": Entry("depthbench.report.tables.runs:TABLE"),
    "missing": Entry("depthbench.report.tables.missing:TABLE"),
    "classes": Entry("depthbench.report.tables.classes:TABLE"),
    "robustness": Entry("depthbench.report.tables.robustness:TABLE"),
    "rates": Entry("depthbench.report.tables.rates:TABLE"),
    "last_block": Entry("depthbench.report.tables.last_block:TABLE"),
    "responses": Entry("depthbench.report.tables.responses:TABLE"),
    "coordinates": Entry("depthbench.report.tables.coordinates:TABLE"),
    "unmeasured": Entry("depthbench.report.tables.unmeasured:TABLE"),
    "reproduction": Entry("depthbench.report.tables.reproduction:TABLE"),
}

COMPARISON_TABLES: dict[str, Entry] = {
    "differences": Entry("depthbench.report.tables.differences:TABLE"),
    "settings": Entry("depthbench.report.tables.settings:TABLE"),
    "summary": Entry("depthbench.report.tables.summary:COMPARISON"),
}
