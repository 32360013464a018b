from depthbench.report.tables.differences import TABLE
from tests.report.tables.rows import rows


def test_differences_are_shown_seed_by_seed_with_what_was_the_same(compared):
    table = TABLE.build(compared)
    (row,) = rows(table, study="partial", error="train error", network="plain", depth="20")
    assert row["n"] == "3"
    assert row["each seed's difference"].endswith("; 1 diverged")
    assert row["significant"] == "no"
    (row,) = rows(table, study="other", error="test error", network="plain", depth="8")
    assert (row["mean difference (points)"], row["same initial weights"], row["same batches"]) == (
        "+0.00",
        "yes",
        "yes",
    )
    assert "minus that of whole" in table.note
