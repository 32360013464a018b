from depthbench.analysis.unmeasured import not_measured
from depthbench.report.tables.unmeasured import unmeasured_table
from tests.report.tables.rows import rows


def test_what_was_not_measured_is_listed_with_the_reason():
    names = {f"layer{i}": "frozen" for i in range(14)}
    (row,) = rows(unmeasured_table(not_measured([("plain", 8, 0, names), ("plain", 8, 2, names)])))
    assert (row["seeds"], row["reason"]) == ("0, 2", "frozen")
    assert row["not measured, or not in full"].endswith("layer10, layer11 and 2 more")
