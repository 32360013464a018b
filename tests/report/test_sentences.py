import pandas as pd
import pytest

from depthbench.analysis.chance import at_chance
from depthbench.analysis.choice import choose
from depthbench.analysis.missing import missing_runs
from depthbench.analysis.summary import summarise
from depthbench.analysis.theory import measured_rates
from depthbench.analysis.verdict import Verdicts, degradation, judge, removals, trends
from depthbench.report import sentences
from tests.analysis.test_verdict import errors_of
from tests.report.conftest import study_of


def test_statuses_count_every_run_and_those_not_begun(partial_results):
    missing = missing_runs(study_of().grid.cells(), partial_results.runs)
    lines = sentences.statuses(partial_results.runs, missing)
    assert lines == "17 runs: 14 done, 1 diverged, 1 failed, 1 interrupted; 1 not started"


def test_degradation_states_both_ends_their_n_and_the_difference(results):
    assert sentences.degradation(summarise(results.runs)) == [
        "plain: mean train error 2.40 % at depth 8 (n = 3) and 8.40 % at depth 20 (n = 3), a change of "
        "+6.00 percentage points.",
        "resnet: mean train error 2.40 % at depth 8 (n = 3) and 1.20 % at depth 20 (n = 3), a change of "
        "-1.20 percentage points.",
    ]


def test_one_depth_has_no_difference(results):
    runs = results.runs[(results.runs["depth"] == 8) & (results.runs["network"] == "plain")]
    assert sentences.degradation(summarise(runs)) == ["plain: mean train error 2.40 % at depth 8 (n = 3)."]


def test_no_sentence_without_a_finished_run(results):
    assert sentences.degradation(summarise(results.runs.assign(status="interrupted"))) == []


def test_verdicts_compare_the_shallowest_and_the_deepest_depth_and_twins(results):
    """In every seed, from depth 8 to 20, plain gets 6 points worse and resnet 1.2 points better."""
    assert sentences.verdicts(judge(results.runs, results.history, "train_error_eval")) == [
        "plain: degradation is present from depth 8 to 20 (train error +6.00 percentage points, n = 3, p = "
        "0.0046, Page's trend test).",
        "resnet: degradation is absent from depth 8 to 20 (train error -1.20 percentage points, n = 3, "
        "one-sided 95 % upper bound -1.20, margin 1).",
        "Residual connections remove the degradation: from depth 8 to 20 the train error of plain rises 7.20 "
        "percentage points more than that of resnet (n = 3, p < 0.0001).",
    ]


def test_too_few_seeds_are_inconclusive(results):
    two = results.runs[results.runs["seed"] < 2]
    lines = sentences.verdicts(judge(two, results.history, "train_error_eval"))
    assert lines[0].endswith(
        "inconclusive from depth 8 to 20 (train error +6.00 percentage points, n = 2, too few to judge, "
        "Page's trend test)."
    )
    assert lines[2].startswith(
        "It is inconclusive whether residual connections remove the degradation: from depth 8 to 20 the "
        "train error of plain rises 7.20 percentage points more than that of resnet (n = 2"
    )


def test_one_depth_has_no_verdict(results):
    assert sentences.verdicts(judge(results.runs.query("depth == 8"), results.history, "test_error")) == []


def test_one_diverged_run_does_not_hide_a_rise_in_every_seed():
    """Its chance error makes the spread of a t test as wide as its mean."""
    shallow, middle = [0.1, 0.2, 0.1, 0.3, 0.2], [5.0, 7.0, 6.0, 5.5, 6.5]
    table = {("plain", 20): shallow, ("plain", 56): middle, ("plain", 110): [9.0, 12.0, "x", 11.0, 10.0]}
    errors = errors_of(table)
    judged = Verdicts(0.5, degradation(errors, 0.5), trends(errors, 0.5), removals(errors, 0.5))
    (sentence,) = sentences.verdicts(judged)
    assert "degradation is present from depth 20 to 110" in sentence
    assert "Page" in sentence
    assert judged.degradation.query("deep == 110")["verdict"].tolist() == ["inconclusive"] * 2


def test_two_depths_are_judged_by_their_difference():
    errors = errors_of({("plain", 20): [1, 2, 3], ("plain", 56): [30, 32, 31]})
    judged = Verdicts(0.5, degradation(errors, 0.5), trends(errors, 0.5), removals(errors, 0.5))
    (sentence,) = sentences.verdicts(judged)
    assert sentence.startswith(
        "plain: degradation is present from depth 20 to 56 (train error +29.00 percentage points, n = 3"
    )
    assert "Page" not in sentence


def verdict_sentences(table, margin=1.0):
    errors = errors_of(table)
    return sentences.verdicts(
        Verdicts(margin, degradation(errors, margin), trends(errors, margin), removals(errors, margin))
    )


def test_one_more_depth_of_one_seed_changes_no_answer():
    table = {("plain", 20): [1, 2, 1, 2], ("plain", 110): [80, 81, 79, 80]}
    (sentence,) = verdict_sentences(table)
    assert verdict_sentences(table | {("plain", 56): [40]}) == [sentence]
    assert verdict_sentences(table | {("plain", 206): [90]}) == [sentence]
    assert "present from depth 20 to 110" in sentence


def test_depths_without_a_common_seed_are_not_judged():
    assert verdict_sentences({("plain", 20): [1, None], ("plain", 56): [None, 2]}) == []


def test_an_outlier_at_chance_between_two_depths_does_not_hide_a_rise_in_every_seed():
    table = {("plain", 20): [1, 1.1, 1, 1.2, 1], ("plain", 56): [5, 5.1, 5, "x", 5.2]}
    (sentence,) = verdict_sentences(table)
    assert sentence.endswith("(train error +21.00 percentage points, n = 5, p = 0.0312, sign-flip test).")
    assert "present" in sentence


@pytest.mark.parametrize(
    ("plain", "residual", "words"),
    [
        ([81, 82, 80.5], [1.0, 2.1, 3.0], "Residual connections remove the degradation: from depth 20 to 56"),
        ([81, 82, 80.5], [61.2, 62, 63], "Residual connections remove the degradation in part:"),
        ([81, 82, 80.5], [1.0, 12, 4.0], "Residual connections remove the degradation, at least in part:"),
        (
            [1.1, 2.0, 3.1],
            [21, 22.3, 23],
            "Residual connections reduce the rise of the train error by less than the margin: from depth 20 "
            "to 56 the train error of plain rises 20.03 percentage points less than that of resnet",
        ),
        (
            [1.1, 2.0, 3.1],
            [-19, -18, -17.1],
            "The degradation of plain is not established, but from depth 20 to 56 the train error",
        ),
    ],
)
def test_the_sentence_on_residual_connections_follows_the_verdicts(plain, residual, words):
    shallow = [1, 2, 3]
    table = {("plain", 20): shallow, ("plain", 56): plain, ("resnet", 20): shallow, ("resnet", 56): residual}
    assert verdict_sentences(table)[2].startswith(words)


def test_errors_that_all_tie_have_no_p():
    table = {("plain", depth): [0, 0, 0] for depth in (8, 14, 20)}
    (sentence,) = verdict_sentences(table)
    assert "nan" not in sentence
    assert "absent" in sentence


def test_networks_at_chance_are_named_and_not_judged():
    table = {("plain", 20): [90, 90, 90], ("plain", 56): [89, 90, 91], ("resnet", 20): [1, 2, 3]}
    errors = errors_of(table | {("resnet", 56): [1, 2, 3]})
    judged = Verdicts(1.0, degradation(errors, 1.0), trends(errors, 1.0), removals(errors, 1.0))
    summary = summarise(errors.assign(train_error_eval=errors["error"], test_error=errors["error"]))
    untrained = at_chance(summary, errors.assign(num_classes=10))
    assert untrained == ["plain"]
    assert at_chance(summary.assign(n=2), errors.assign(num_classes=10)) == []
    lines = sentences.verdicts(judged, untrained)
    assert [sentence.partition(":")[0] for sentence in lines] == [
        "resnet",
        "At chance at every depth, so degradation cannot be measured",
    ]


def test_the_rates_of_the_deepest_network_are_compared_with_theory(results):
    lines = sentences.rates(measured_rates(results.runs, results.layers))
    assert lines == [
        "plain, depth 20: the gradient vanishes at initialisation. Its squared norm is multiplied by 0.49 "
        "per layer towards the input (n = 3; theory of wide, fully connected layers: at most 1.47)."
    ]


@pytest.mark.parametrize(
    ("low", "high", "does"),
    [
        (1.3, 1.5, "explodes"),
        (0.4, 0.5, "vanishes"),
        (0.99, 1.01, "stays about constant"),
        (0.99, 1.4, "explodes in some stages"),
        (0.6, 1.0, "vanishes in some stages"),
        (0.85, 1.39, "vanishes in some stages and explodes in others"),
    ],
)
def test_the_sentence_on_a_gradient_covers_all_stages(low, high, does):
    rows = [
        {"network": "a", "depth": 20, "per": "layer", "mean": mean, "n": 3, "predicted": None, "kind": ""}
        for mean in (low, high)
    ]
    (sentence,) = sentences.rates(pd.DataFrame(rows))
    assert f"the gradient {does} at initialisation" in sentence


def test_responses_are_of_the_deepest_depth():
    columns = ["network", "depth", "n", "mean"]
    summary = pd.DataFrame(
        [["plain", 8, 3, 1.0], ["plain", 20, 3, 5.04], ["resnet", 20, 2, 0.99]], columns=columns
    )
    lines = sentences.responses(summary)
    assert lines.endswith(": plain 5.04 at depth 20 (n = 3), resnet 0.99 at depth 20 (n = 2).")
    assert sentences.responses(summary.iloc[:0]) == ""


def test_equal_errors_are_a_copy_unless_all_are_the_same_number():
    def differences_of(*first):
        rows = [{"study": "b", "error": "train error", "first": x, "differences": {0: 0.0}} for x in first]
        return pd.DataFrame(rows)

    (sentence,) = sentences.copies(differences_of(5.0, 7.0), "a")
    assert sentence.startswith("b has exactly the same errors as a: it is a copy")
    assert sentences.copies(differences_of(90.0, 90.0), "a") == []  # all at chance
    assert sentences.copies(differences_of(5.0, 7.0), "a", ["b"]) == []
    assert sentences.copies(differences_of(5.0, 7.0).assign(differences=[{0: 0.0}, {0: 0.1}]), "a") == []


def test_the_recommendation_gives_its_evidence(validated):
    runs = validated.runs
    assert sentences.choice(choose(runs)) == [
        "Recommended: resnet at depth 20, validation error 5.20 ± 0.23 % (mean ± standard error, n = 3), 0.2 "
        "million multiply-adds per image and 0.02 million parameters. It has the lowest error, and no other "
        "choice with fewer multiply-adds is within one standard error of it.",
        "Shallowest depth of each network within one standard error of its best depth: plain 8, resnet 20.",
    ]
    near = runs.assign(val_error=runs["val_error"].where(runs["depth"] > 8, 5.3))
    assert sentences.choice(choose(near))[0] == (
        "Recommended: plain at depth 8, validation error 5.30 % (n = 3), 0.08 million multiply-adds per "
        "image and 0.008 million parameters. It has the fewest multiply-adds of all choices within one "
        "standard error of the best. The best is resnet at depth 20 (5.20 ± 0.23 %, mean ± standard error, n "
        "= 3), with 2.5 times as many multiply-adds."
    )
    some = near[(near["seed"] == 0) | (near["depth"] != 8) | (near["network"] != "resnet")]
    assert sentences.choice(choose(some))[0] == "Depths with fewer than 2 seeds are not considered."
    caution, same, _ = sentences.choice(choose(near), unfinished=2)
    assert caution == "This may change: 2 runs of the study have no final errors yet."
    assert same.startswith("Recommended: plain at depth 8")


def test_without_a_recommendation_the_sentence_names_what_it_needs(results, validated):
    (sentence,) = sentences.choice(choose(results.runs))
    assert "--set data.val_fraction=0.1" in sentence
    (sentence,) = sentences.choice(choose(validated.runs.query("seed == 0")))
    assert "--seeds 3" in sentence


def test_one_depth_has_no_recommendation(validated):
    assert sentences.choice(choose(validated.runs.query("network == 'plain' and depth == 8"))) == []
