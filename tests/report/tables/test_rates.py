from depthbench.analysis.theory import measured_rates
from depthbench.report.tables.rates import rates_table
from tests.report.tables.rows import rows


def test_rates_are_shown_with_prediction_formula_and_source(results):
    table = rates_table(measured_rates(results.runs, results.layers))
    (row,) = rows(table, network="plain", depth="20", stage="2")
    assert (row["measured"], row["n"]) == ("0.490", "3")  # 0.7 squared; an interval needs five seeds
    assert row["predicted"] == "1.467"
    assert not {"difference (%)", "95 % interval"} & row.keys()  # of a bound, and of three seeds
    assert row["formula"] == "at most pi/(pi - 1)"
    assert "upper bound" in row["assumption"]
    assert table.note.endswith(" Source of at most pi/(pi - 1): Yang et al. 2019, arXiv:1902.08129.")
    assert table.raw.loc[table.raw["predicted"].notna(), "source"].str.startswith("Yang").all()
    assert rows(table, network="resnet") == []  # a power of the depth, no rate


def test_rates_without_prediction_have_no_columns_for_it(results):
    runs = results.runs.assign(**{"options.activation": "tanh"})
    table = rates_table(measured_rates(runs, results.layers))
    row = rows(table, network="plain", depth="20", stage="2")[0]
    assert row["measured"] == "0.490"
    assert not {"predicted", "difference (%)", "formula", "assumption"} & row.keys()
    assert table.note.endswith("No formula predicts these rates.")
