import pandas as pd
import pytest

from depthbench.report import write_report
from depthbench.report.changing import change, costs, explanations
from depthbench.report.evidence import Evidence
from tests.report.conftest import store_study, study_of

VARIANTS = {
    "plain-adam": {"of": "plain", "baseline": "plain", "recipe": {"optimizer": "adam", "lr": 0.001}},
    "plain-3x": {"of": "plain", "baseline": "plain", "budget": 3.0},
    "resnet-pixel": {"of": "resnet", "baseline": "resnet", "data": {"normalisation": "pixel"}},
}


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    study = study_of(("plain", "resnet", *VARIANTS), depths=(8, 20), variants=VARIANTS)
    return store_study(tmp_path_factory.mktemp("changed") / "made-up", study)


@pytest.fixture(scope="module")
def evidence(stored):
    return Evidence.load(stored)


def test_a_change_names_each_setting_with_both_values(evidence):
    texts = [change(evidence.study, name, each["baseline"]) for name, each in VARIANTS.items()]
    assert texts == [
        "optimizer adam, not sgd; learning rate 0.001, not 0.1",
        "3 times the steps",
        "normalisation pixel, not channel",
    ]
    assert change(evidence.study, "resnet", "resnet") == "nothing"


def rows_of_tally(symptom, **counts):
    """counts: present, absent and total of the networks with the symptom, and of those without it."""
    rows = []
    for has in (True, False):
        present, absent, total, names = counts["with_it" if has else "without"]
        row = {"symptom": symptom, "has": has, "present": present, "absent": absent, "total": total}
        rows.append(row | {"names": names})
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("with_it", "without", "says"),
    [
        (
            (3, 0, 3, ()),
            (1, 1, 2, ("adam",)),
            "Growth of the weights occurs in 3 of the 5 plain networks with a verdict: "
            "3 of these 3 degrade, and "
            "1 of the 2 without it. So it is not necessary for degradation (absent in adam).",
        ),
        (
            (2, 1, 3, ("tat",)),
            (0, 2, 2, ()),
            "Growth of the weights occurs in 3 of the 5 plain networks with a verdict: "
            "2 of these 3 degrade, and "
            "0 of the 2 without it. So it is not sufficient (no degradation in tat).",
        ),
        (
            (2, 0, 2, ()),
            (0, 2, 2, ()),
            "Growth of the weights occurs in 2 of the 4 plain networks with a verdict: "
            "2 of these 2 degrade, and "
            "0 of the 2 without it.",
        ),
        (
            (0, 0, 0, ()),
            (1, 0, 1, ("adam",)),
            "Growth of the weights occurs in none of the 1 plain network with a verdict, of which 1 "
            "degrade. So it is not necessary for degradation (absent in adam).",
        ),
    ],
)
def test_a_symptom_is_not_necessary_or_not_sufficient_where_the_outcome_differs(with_it, without, says):
    assert explanations(rows_of_tally("grows", with_it=with_it, without=without)) == [says]


def test_a_symptom_that_was_not_probed_has_no_sentence():
    assert explanations(rows_of_tally("grows", with_it=(0, 0, 0, ()), without=(0, 0, 0, ()))) == []


def rows_of_costs(*rows):
    columns = ["network", "n", "mean", "p_holm"]
    return pd.DataFrame(rows, columns=columns).assign(error="test error", baseline="plain", depth=20)


def test_the_changes_that_alter_the_test_error_are_named_the_largest_first():
    table = rows_of_costs(("a", 5, 0.5, 0.01), ("b", 5, -2.0, 0.02), ("c", 5, 9.0, 0.2))
    assert costs(table) == [
        "plain, depth 20: 2 of 3 changes are shown to alter the test error: b (-2.00 points) and a (+0.50 "
        "points)."
    ]
    assert costs(rows_of_costs(("a", 5, 0.5, 0.3))) == [
        "plain, depth 20: none of 1 change is shown to alter the test error."
    ]
    assert costs(rows_of_costs(("a", 2, 0.5, float("nan")))) == [
        "plain, depth 20: a test of changes needs 3 seeds."
    ]


def test_the_page_has_a_chapter_with_the_figure_both_tables_and_sentences(stored, evidence):
    assert list(evidence.causes["network"]) == ["plain", "plain-adam", "plain-3x", "resnet", "resnet-pixel"]
    page = write_report(stored).read_text(encoding="utf-8")
    chapter = page[page.index('<details id="changes"') :]
    for part in ("What does each change do?", 'id="figure-deviations"', 'id="table-causes"'):
        assert part in chapter
    assert "A vanishing gradient occurs in" in chapter
    assert "plain, depth 20: none of 2 changes is shown to alter the test error." in chapter
