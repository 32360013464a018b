import pytest

from depthbench.report.evidence import Evidence
from depthbench.report.tables.sweep import OPTIMA, VERDICTS
from tests.report.conftest import evidence_of


@pytest.fixture(scope="module")
def evidence(swept):
    return Evidence.load(swept)


def test_verdicts_are_those_at_the_best_value_of_each_depth(evidence):
    table = VERDICTS.build(evidence)
    rows = table.shown.set_index(["network", "depths"])
    plain = rows.loc["plain", "8, 20"]
    assert (plain["verdict"], plain["best values"], plain["setting"]) == ("present", "0.1, 0.03", "recipe.lr")
    assert float(plain["mean difference (points)"]) == pytest.approx(6 + 15 * 0.01561, abs=0.01)
    assert rows.loc["resnet", "8, 20"]["verdict"] == "absent"
    assert "choose the best value by their train error" in table.note


def test_best_values_name_their_uncertainty_and_diverged_cells(evidence):
    rows = OPTIMA.build(evidence).shown.set_index(["network", "depth"])
    row = rows.loc["plain", "20"]
    assert (row["best value"], row["mean best value of seeds"]) == ("0.03", "0.04")
    assert row["range of seeds"] == "0.04 to 0.04"
    assert row["diverged"] == "1: 3 runs"


def test_a_study_without_a_sweep_has_neither_table(results):
    evidence = evidence_of(results)
    assert VERDICTS.build(evidence) is None
    assert OPTIMA.build(evidence) is None
