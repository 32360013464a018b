import pandas as pd
import pytest

from depthbench import load_study
from depthbench.analysis.answers import Answer
from depthbench.analysis.sweep import analyse
from depthbench.report import opening, write_report
from depthbench.report.evidence import Evidence
from depthbench.report.sweeping import conclusions, details, swept_value
from tests.report.conftest import store_study


def analysed(errors, key="recipe.lr"):
    """Return the analysis of errors {depth: {value: [error of each seed]}} of a network `net`."""
    rows = [
        {"network": f"net-{value}", "family": "net", "depth": depth, "seed": seed}
        | {"status": "done", "error": error}
        for depth, by_value in errors.items()
        for value, seeds in by_value.items()
        for seed, error in enumerate(seeds)
    ]
    values = {value for by_value in errors.values() for value in by_value}
    variants = {f"net-{value}": {"swept": {"network": "net", "values": {key: value}}} for value in values}
    (found,) = analyse(pd.DataFrame(rows), None, {"variants": variants}, 1.0)
    return found


def flat(level):
    return [level, level + 0.1, level + 0.2]


@pytest.mark.parametrize(
    ("deep", "says"),
    [
        (
            (60, 50),
            "net degrades from depth 8 to 20 even at the best learning rate of each depth (0.1 and 0.3)",
        ),
        (
            (5, 50),
            "net does not degrade from depth 8 to 20 at the best learning rate of each depth (0.1 and 0.1)",
        ),
    ],
)
def test_the_conclusion_is_about_the_best_value_of_each_depth(deep, says):
    found = analysed({8: {0.1: flat(5), 0.3: flat(6)}, 20: {0.1: flat(deep[0]), 0.3: flat(deep[1])}})
    answers = [Answer("net-0.1", "absent"), Answer("net-0.3", "present")]
    (line,) = conclusions(found, answers)
    assert line.startswith(says)
    assert "n = 3" in line
    assert "present at 1 of 2" in line
    assert ("an effect of the value and not of depth alone" in line) == (deep[0] == 5)


def test_too_few_seeds_have_no_verdict():
    found = analysed({8: {0.1: [5, 5], 0.3: [6, 6]}, 20: {0.1: [50, 50], 0.3: [60, 60]}})
    (line,) = conclusions(found, [])
    assert line.startswith("net: no verdict at the best learning rate of each depth")
    assert line.endswith("because it needs 3 seeds.")


def test_best_values_at_an_end_and_their_movement_are_stated():
    rates = (0.01, 0.1, 1.0)
    found = analysed(
        {8: {r: flat(e) for r, e in zip(rates, (9, 5, 9), strict=True)}}
        | {80: {r: flat(e) for r, e in zip(rates, (5, 9, 20), strict=True)}}
    )
    edge, movement = details(found)
    assert edge == (
        "net: the best learning rate at depth 80 is the lowest of the sweep. A better one may lie beyond it."
    )
    assert (
        "proportional to depth to the power -1.00 (seeds -1.00 to -1.00, depths 8 to 80, n = 3)" in movement
    )
    assert movement.endswith("because a best value is at an end of the sweep.")


def test_the_report_opens_with_the_verdicts_at_the_best_values(swept):
    first = opening.of_study(Evidence.load(swept))
    assert first.question == "Do deeper networks train worse, even with the best learning rate of each depth?"
    assert [(row.name, row.badge, row.depths) for row in first.rows] == [
        ("plain", "degrades", "8 to 20"),
        ("resnet", "no degradation", "8 to 20"),
    ]
    assert first.chapter == "sweep"


def test_values_are_written_with_three_digits_at_most():
    assert [swept_value(value) for value in (0.0123456, 1.0, True, "batch", float("nan"))] == [
        *("0.0123", "1", "true", "batch", "")
    ]


def test_a_sweep_with_one_seed_has_a_page_without_an_answer_at_the_best_values(tmp_path):
    grids = {"network": ["plain"], "depth": [8, 14], "seed": [0]}
    study = load_study("quick", name="one", grid=grids, recipe={"steps": 200}, sweep={"lr": [0.01, 0.1, 1.0]})
    page = write_report(store_study(tmp_path / "one", study)).read_text(encoding="utf-8")
    assert "plain: no verdict at the best learning rate of each depth" in page
    assert "because it needs 3 seeds" in page
