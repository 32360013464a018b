from types import SimpleNamespace

import pandas as pd

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


def test_studies_of_unknown_settings_are_not_called_equal():
    watched = SimpleNamespace(study={"watched": {}})
    compared = SimpleNamespace(settings=pd.DataFrame(), studies={"one": watched, "two": watched})
    assert TABLE.build(compared).nothing == (
        "No stated setting differs between the studies. Of a training loop that depthbench.watch measured, "
        "only the settings that it stated are known."
    )


def test_a_commit_is_shortened_only_where_it_is_shown(compared):
    commit = "2b482855339a37d97295d26c0169a3c1e942e939"
    settings = compared.settings.replace("xavier", f"{commit} (2 runs)")
    table = TABLE.build(SimpleNamespace(settings=settings))
    assert table.shown.iloc[0]["other"] == "2b482855339a (2 runs)"
    assert table.raw.iloc[0]["other"] == f"{commit} (2 runs)"
