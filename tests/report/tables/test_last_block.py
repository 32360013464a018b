from depthbench.analysis.sub_layers import of_blocks
from depthbench.report.tables.last_block import TABLE
from tests.analysis.test_sub_layers import layers_of, runs_of
from tests.report.conftest import evidence_of


def test_the_table_has_the_measured_and_the_predicted_slope(results):
    runs = runs_of("post")
    table = TABLE.build(evidence_of(results, blocks=of_blocks(layers_of(runs, 0.1), runs), runs=runs))
    (row,) = table.shown.to_dict("records")
    assert (row["network"], row["placement of the norm"]) == ("transformer", "post")
    assert (row["measured slope"], row["95 % interval"], row["predicted"]) == ("+0.10", "0.10 to 0.10", "0.0")
    assert TABLE.build(evidence_of(results)) is None
