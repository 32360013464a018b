import pandas as pd
import pytest

from depthbench.analysis.missing import missing_runs
from depthbench.analysis.theory import measured_rates
from depthbench.report import sentences
from tests.report.conftest import study_of


def test_statuses_count_every_run_and_those_not_begun(partial_results):
    missing = missing_runs(study_of().grid.cells(), partial_results.runs)
    lines = sentences.statuses(partial_results.runs, missing)
    assert lines == "18 runs: 14 done, 1 diverged, 1 failed, 1 interrupted, 1 not started"


def test_the_rates_of_the_deepest_network_are_compared_with_theory(results):
    lines = sentences.rates(measured_rates(results.runs, results.layers))
    assert lines == [
        "plain, depth 20: the gradient vanishes at initialisation. Its squared norm is multiplied by 0.49 "
        "per layer towards the input (n = 3; theory of wide, fully connected layers: at most 1.47)."
    ]


def test_the_trends_of_many_gradients_are_counted():
    def measured(**means):
        rows = [{"network": name, "depth": 20, "mean": mean} for name, mean in means.items()]
        return sentences.trends(pd.DataFrame(rows))

    assert measured(a=1.4, b=0.5, c=1.3) == (
        "Towards the input, the gradient at initialisation explodes in a and c and vanishes in b."
    )
    assert "explodes in 2 of 4 networks, vanishes in 1 and stays" in measured(a=1.4, b=0.5, c=1.3, d=1.0)
    assert measured(a=2, b=2, c=2, d=2).endswith("explodes in all 4 networks.")


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


def test_zeros_by_design_are_named_and_what_theory_predicts_there():
    rows = [("rezero", 0, True), ("rezero", 1, False), ("resnet", 1, True), ("survival", 0, True)]
    table = pd.DataFrame(rows, columns=["network", "step", "by_design"])
    predicted = pd.DataFrame(
        [("rezero", "shortcut", 1.0, "Paper"), ("layerscale", "shortcut", 1.0, "Paper")],
        columns=["network", "kind", "predicted", "source"],
    )
    zero, theory = sentences.zero_gradients({"grad_norm_preact": table}, predicted)
    assert zero.startswith(
        "At initialisation, the gradient of some layers of rezero and survival is exactly 0"
    )
    assert theory.startswith("In theory, the blocks of rezero begin as their shortcut.")
    assert theory.endswith("is multiplied by 1.00 towards the input (Paper).")
    assert len(sentences.zero_gradients({"grad_norm_preact": table}, predicted[1:])) == 1
    assert sentences.zero_gradients({"grad_norm_preact": table[1:3]}, predicted) == []
    assert sentences.zero_gradients({}, predicted) == []


def test_a_bound_is_not_an_expected_rate():
    row = {"network": "a", "depth": 8, "n": 3, "mean": 0.98, "per": "layer", "predicted": 1}
    (line,) = sentences.rates(pd.DataFrame([row | {"kind": "slope_limit"}]))
    assert line.endswith("0.98 per layer towards the input (n = 3; theory: at most 1.00).")


def test_what_networks_have_in_common_is_said_once():
    columns = ["network", "depth", "n", "mean", "per", "predicted", "kind"]
    rows = [
        ["a", 8, 3, 1.2, "layer", None, ""],
        ["a", 32, 3, 1.4, "layer", 1.47, "batch_norm_limit"],
        ["b", 32, 3, 0.5, "block", 0.52, "he"],
    ]
    measured = pd.DataFrame(rows, columns=columns)
    lead, first, second = sentences.rates(measured)
    assert lead.endswith("is multiplied by these factors towards the input at depth 32 (n = 3).")
    assert first == "a explodes: 1.40 per layer (theory of wide, fully connected layers: at most 1.47)."
    assert second == "b vanishes: 0.50 per block (theory: 0.52)."
    lead, *_, second = sentences.rates(measured.assign(n=[3, 3, 2]))
    assert lead.endswith("factors towards the input.")
    assert second == "b vanishes: 0.50 per block (depth 32, n = 2; theory: 0.52)."
    assert sentences.rates(measured.iloc[:0]) == []
    assert sentences.responses(measured).endswith(" at depth 32 (n = 3) is 1.40 in a and 0.500 in b.")


def test_responses_are_of_the_deepest_depth():
    columns = ["network", "depth", "n", "mean"]
    summary = pd.DataFrame(
        [["plain", 8, 3, 1.0], ["plain", 20, 3, 5.04], ["resnet", 20, 2, 0.99]], columns=columns
    )
    lines = sentences.responses(summary)
    assert lines.endswith(" 5.04 in plain (depth 20, n = 3) and 0.990 in resnet (depth 20, n = 2).")
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


def test_differences_are_counted_without_zeros():
    def rows(*p_and_mean):
        return pd.DataFrame(
            [
                {"study": "b", "error": "test error", "network": "plain", "depth": 8 + i, "n": 3}
                | {"mean": mean, "p_holm": p, "differences": {0: mean}}
                for i, (p, mean) in enumerate(p_and_mean)
            ]
        )

    (same,) = sentences.differences(rows((0.5, 1.0), (0.9, -2.0)), "a")
    assert same == (
        "Test error of b, compared with a, is not significantly different in 2 of 2 combinations of network "
        "and depth. Largest difference: plain at depth 9 (-2.00 percentage points, n = 3, p = 0.9000)."
    )
    (other,) = sentences.differences(rows((0.01, 1.0), (0.02, -2.0), (0.9, 5.0)), "a")
    assert (
        "is significantly higher in 1, significantly lower in 1 and not significantly different in 1" in other
    )
    assert "Largest significant difference: plain at depth 9" in other


def test_classes_with_a_low_recall_are_named_unless_the_network_is_near_chance():
    recalls = {
        ("plain", 20): {"cat": 90.0, "dog": 80.0, "bird": 2.5},
        ("plain", 56): {"cat": 100.0, "dog": 0.0, "bird": 0.0},  # predicts one class
        ("resnet", 20): {"cat": 90.0, "dog": 80.0, "bird": 70.0},
    }
    rows = [
        {"network": network, "depth": depth, "metric": "recall", "class": name, "mean": recall}
        for (network, depth), each in recalls.items()
        for name, recall in each.items()
    ]
    first, *others = sentences.weak_recalls(pd.DataFrame(rows))
    assert "class_weights=balanced" in first
    assert others == ["plain at depth 20 (mean 57.50 %): bird (2.50 %)."]
    assert sentences.weak_recalls(pd.DataFrame(rows[-3:])) == []
