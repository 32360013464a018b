from depthbench.analysis.missing import missing_runs
from depthbench.report.tables.missing import missing_table
from tests.report.conftest import study_of
from tests.report.tables.rows import rows


def test_missing_runs_are_named_with_their_reason(partial_results):
    table = missing_table(missing_runs(study_of().grid.cells(), partial_results.runs))
    shown = [(row["network"], row["status"], row["updates"]) for row in rows(table)]
    assert shown == [
        ("plain", "failed: OSError: the disk | is full", "0 of 200"),
        ("resnet", "interrupted", "120 of 200"),
        ("resnet", "not started", ""),
    ]
