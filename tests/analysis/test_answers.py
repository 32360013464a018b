"""The answer for each network and each pair of twins, and the test that decides it."""

import numpy as np
import pytest

from depthbench.analysis.answers import AT_CHANCE, answer
from depthbench.analysis.chance import at_chance
from depthbench.analysis.summary import summarise
from depthbench.analysis.verdict import Verdicts, degradation, removals, trends
from tests.analysis.test_verdict import errors_of


def judged_of(table, margin):
    errors = errors_of(table)
    return Verdicts(margin, degradation(errors, margin), trends(errors, margin), removals(errors, margin))


def answers(table, margin=1.0, untrained=()):
    return answer(judged_of(table, margin), untrained)


def test_twins_follow_their_residual_network():
    table = {("plain", 20): [1, 2, 3], ("plain", 56): [31, 32, 33]}
    table |= {("resnet", 20): [1, 2, 3], ("resnet", 56): [1, 2, 3]}
    plain, resnet, twins = answers(table)
    assert (plain.network, plain.verdict, plain.shallow, plain.deep, plain.n) == (
        "plain",
        "present",
        20,
        56,
        3,
    )
    assert (plain.effect, plain.least, plain.greatest) == (30, 30, 30)
    assert (resnet.network, resnet.residual, resnet.verdict) == ("resnet", "", "absent")
    assert (twins.network, twins.residual, twins.verdict) == ("plain", "resnet", "present")


@pytest.mark.parametrize(
    ("plain", "residual", "verdict", "is_removed", "is_shown"),
    [
        ([81, 82, 80.5], [1.0, 2.1, 3.0], "present", True, True),
        ([81, 82, 80.5], [61.2, 62, 63], "present", False, True),
        ([81, 82, 80.5], [1.0, 12, 4.0], "present", None, True),
        ([1.1, 2.0, 3.1], [21, 22.3, 23], "absent", None, False),
        ([1.1, 2.0, 3.1], [-19, -18, -17.1], "present", None, False),
    ],
)
def test_what_residual_connections_change_follows_all_verdicts(
    plain, residual, verdict, is_removed, is_shown
):
    table = {
        ("plain", 20): [1, 2, 3],
        ("plain", 56): plain,
        ("resnet", 20): [1, 2, 3],
        ("resnet", 56): residual,
    }
    found = answers(table)[-1]
    assert (found.verdict, found.is_shown) == (verdict, is_shown)
    assert found.is_removed is is_removed or not is_shown


def test_few_seeds_are_judged_by_the_trend_and_have_no_interval():
    (plain,) = answers({("plain", 8): [1, 2, 1], ("plain", 14): [4, 4, 5], ("plain", 20): [7, 9, 8]})
    assert (plain.verdict, plain.test, plain.n) == ("present", "Page's trend test", 3)
    assert plain.p == pytest.approx(0.0046, abs=1e-4)
    assert np.isnan(plain.low)


def test_two_depths_are_judged_by_their_difference():
    (plain,) = answers({("plain", 20): [1, 2, 3], ("plain", 56): [30, 32, 31]})
    assert (plain.verdict, plain.test, plain.effect) == ("present", "paired t test", 29)


def test_five_seeds_have_an_interval():
    (plain,) = answers({("plain", 20): [1, 1, 1, 1, 1], ("plain", 56): [30, 32, 31, 33, 29.5]})
    assert plain.low < plain.effect < plain.high


def test_one_diverged_run_does_not_hide_a_rise_in_every_seed():
    """Its chance error makes the spread of a t test as wide as its mean."""
    shallow, middle = [0.1, 0.2, 0.1, 0.3, 0.2], [5.0, 7.0, 6.0, 5.5, 6.5]
    table = {("plain", 20): shallow, ("plain", 56): middle, ("plain", 110): [9.0, 12.0, "x", 11.0, 10.0]}
    (plain,) = answers(table, margin=0.5)
    assert (plain.verdict, plain.test, plain.diverged) == ("present", "Page's trend test", 1)
    errors = errors_of(table)
    assert degradation(errors, 0.5).query("deep == 110")["verdict"].tolist() == ["inconclusive"] * 2


def test_an_outlier_at_chance_between_two_depths_does_not_hide_a_rise_in_every_seed():
    (plain,) = answers({("plain", 20): [1, 1.1, 1, 1.2, 1], ("plain", 56): [5, 5.1, 5, "x", 5.2]})
    assert (plain.verdict, plain.test) == ("present", "sign-flip test")
    assert plain.p == pytest.approx(1 / 2**5)


def test_the_sign_flip_test_is_corrected_and_decides_only_if_it_can():
    """The middle depth lacks seeds, so there is no trend over all seeds."""
    table = {
        ("plain", 20): [1, 2, 1, 2, 1, 2],
        ("plain", 56): [3, 5, 3],
        ("plain", 110): [9, 8, 9, 8, 9, "x"],
    }
    (six,) = answers(table)
    assert (six.verdict, six.test) == ("present", "sign-flip test")
    assert six.p == pytest.approx(3 / 2**6)  # the strictest of three pairs of depths
    table = {("plain", 20): [1, 2, 1, 2, 1], ("plain", 56): [3, 5, 3], ("plain", 110): ["x"] * 5}
    (five,) = answers(table)  # 3 / 2**5 is above 0.05, although all five runs diverged
    assert (five.verdict, five.test) == ("present", "paired t test")


def test_twins_are_judged_by_the_same_tests_as_networks():
    def pair(*depths):
        table = {("plain", depth): errors for depth, errors in zip((20, 56, 110), depths, strict=False)}
        table |= {
            ("resnet", depth): [1, 1.1, 1, 1.2, 1][: len(errors)] for (_, depth), errors in table.items()
        }
        return answers(table)[-1]

    low = [1, 1.1, 1, 1.2, 1]
    diverged = pair(low, [5, 5.1, 5, "x", 5.2])
    assert (diverged.residual, diverged.test, diverged.verdict) == ("resnet", "sign-flip test", "present")
    assert diverged.p == pytest.approx(1 / 2**5)
    assert diverged.diverged == 1
    few = pair(low[:3], [5, 5.1, 5], [9, 8, 9])
    assert (few.test, few.verdict) == ("Page's trend test", "present")
    assert pair(low, [5, 5.1, 5, 5.3, 5.2]).test == "paired t test"


@pytest.mark.parametrize(("effect", "least", "most"), [(0.0, 0.0, 0.05), (4.0, 0.9, 1.0)])
def test_operating_characteristics_if_some_runs_diverge(effect, least, most, monkeypatch):
    """A run diverges with probability 0.1, without an effect at both depths, otherwise at the deeper one.

    A t test misses an effect that every seed shows, because chance error widens the spread."""
    monkeypatch.setattr(
        "depthbench.analysis.answers.seeds_to_decide", lambda *_, **__: None
    )  # simulates for long
    rng, studies, seeds = np.random.default_rng(0), 200, 6
    table = {}
    for study in range(studies):
        for depth, mean in ((20, 5.0), (56, 5.0 + effect)):
            diverges = rng.random(seeds) < (0.1 if depth == 56 or not effect else 0)
            errors = np.where(diverges, 90.0, rng.normal(mean, 1.0, seeds))
            table[(f"study {study}", depth)] = ["x" if error == 90 else error for error in errors]
    judged = judged_of(table, margin=0.1)
    rate = sum(found.verdict == "present" for found in answer(judged)) / studies
    assert least <= rate <= most + 3 * (0.05 * 0.95 / studies) ** 0.5
    if effect:
        assert (judged.degradation["verdict"] == "present").mean() < 0.7


def test_one_more_depth_of_one_seed_changes_no_answer():
    table = {("plain", 20): [1, 2, 1, 2], ("plain", 110): [80, 81, 79, 80]}
    (one,) = answers(table)
    for more in ({("plain", 56): [40]}, {("plain", 206): [90]}):
        (other,) = answers(table | more)
        assert (other.verdict, other.p, other.deep) == (one.verdict, one.p, 110)


def test_an_inconclusive_answer_says_how_many_seeds_it_needs():
    (plain,) = answers({("plain", 20): [1, 1, 1], ("plain", 56): [2, 9, 4]})
    assert plain.verdict == "inconclusive"
    assert 3 < plain.seeds_needed < 30
    (decided,) = answers({("plain", 20): [1, 2, 3], ("plain", 56): [30, 32, 31]})
    assert decided.seeds_needed is None


def test_with_the_needed_seeds_the_same_analysis_decides():
    """With 3 seeds the trend over 4 depths is tested; with 5 or more, pairs of depths, corrected by Holm."""
    flat = {("plain", 8): [5, 5, 5], ("plain", 20): [5.5, 4.8, 6], ("plain", 32): [5.2, 4.6, 4.9]}
    differences = np.array([0.2, 2.0, 4.0])
    (few,) = answers(flat | {("plain", 56): list(5 + differences)})
    assert (few.test, few.verdict) == ("Page's trend test", "inconclusive")
    rng, studies, n = np.random.default_rng(0), 60, few.seeds_needed
    table = {}
    for study in range(studies):
        base = rng.normal(5, 0.3, n)
        for depth in (8, 20, 32):
            table[(f"study {study}", depth)] = list(base + rng.normal(0, 0.3 * (depth > 8), n))
        deep = base + rng.normal(differences.mean(), differences.std(ddof=1), n)
        table[(f"study {study}", 56)] = list(deep)
    decided = sum(found.verdict != "inconclusive" for found in answers(table))
    assert decided / studies > 0.65  # 0.8, less three standard errors


@pytest.mark.parametrize(
    "table", [{("plain", 20): [1, 2]}, {("plain", 20): [1, None], ("plain", 56): [None, 2]}]
)
def test_without_a_common_seed_at_two_depths_there_is_no_answer(table):
    assert answers(table) == []


def test_errors_that_all_tie_are_no_degradation():
    (plain,) = answers({("plain", depth): [0, 0, 0] for depth in (8, 14, 20)})
    assert plain.verdict == "absent"


def test_networks_at_chance_come_last_and_are_not_judged():
    table = {("plain", 20): [90, 90, 90], ("plain", 56): [89, 90, 91], ("resnet", 20): [1, 2, 3]}
    table |= {("resnet", 56): [1, 2, 3]}
    errors = errors_of(table)
    summary = summarise(errors.assign(train_error_eval=errors["error"], test_error=errors["error"]))
    untrained = at_chance(summary, errors.assign(num_classes=10))
    assert untrained == ["plain"]
    assert at_chance(summary.assign(n=2), errors.assign(num_classes=10)) == []
    assert [(each.network, each.residual, each.verdict) for each in answers(table, untrained=untrained)] == [
        ("resnet", "", "absent"),
        ("plain", "resnet", AT_CHANCE),  # nothing can be removed, which is stated
        ("plain", "", AT_CHANCE),
    ]
    found = answers(table, untrained=["resnet"])
    assert [each.residual for each in found] == ["", "resnet", ""]
    assert [each.network for each in found] == ["plain", "plain", "resnet"]
