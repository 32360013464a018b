from depthbench.report.tables.coordinates import TABLE
from tests.analysis.test_coordinates import coordinates_of
from tests.report.conftest import evidence_of


def test_the_table_names_the_quantities_and_has_a_verdict_on_each(results):
    table = TABLE.build(evidence_of(results, coordinates=coordinates_of(1.0)))
    rows = {(row["activation"], row["quantity"]): row for row in table.shown.to_dict("records")}
    changed = rows["last block", "change after 1 update"]
    assert (changed["verdict"], changed["slope"], changed["seeds"]) == ("grows", "+1.00", "3")
    assert changed["95 % interval"] == "1.00 to 1.00"
    assert rows["logits", "size before training"]["verdict"] == "flat"
    assert TABLE.build(evidence_of(results, coordinates=coordinates_of(1.0, blocks=(3,)))) is None
