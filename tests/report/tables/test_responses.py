from depthbench.report.tables.responses import TABLE
from tests.report.conftest import evidence_of
from tests.report.tables.rows import rows


def test_median_smallest_and_largest_layer_are_shown(results):
    """Layer i of seed s has (1 + 0.1 s) (1.5 + sin i) / sqrt(depth)."""
    (row,) = rows(TABLE.build(evidence_of(results)), network="plain", depth="8")
    assert (row["n"], row["median layer, mean"]) == ("3", "0.638")
    assert (row["smallest of any layer"], row["largest of any layer"]) == ("0.191", "1.02")
