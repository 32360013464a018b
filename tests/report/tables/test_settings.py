from depthbench.report.evidence import Comparison
from depthbench.report.tables.settings import TABLE


def test_only_settings_that_differ_are_listed(compared):
    rows = TABLE.build(compared).shown.to_dict("records")
    assert "recipe.lr" not in {row["setting"] for row in rows}
    assert rows[0] == {"setting": "options.init", "whole": "he", "partial": "he", "other": "xavier"}


def test_equal_studies_have_nothing_to_list(compared):
    study = compared.studies["whole"]
    table = TABLE.build(Comparison({"one": study, "two": study}))
    assert table.shown.empty
    assert table.nothing == "No setting differs between the studies."
