import pandas as pd

from depthbench.analysis.choice import choose
from depthbench.report import choosing
from depthbench.store.record import Record
from tests.analysis.test_choice import runs_of
from tests.report.conftest import study_of


def test_the_recommendation_gives_its_evidence(validated):
    runs = validated.runs
    assert choosing.choice(choose(runs), images="144 images") == [
        "Recommended: resnet at depth 20, validation error 5.20 % (standard error 0.23, seeds 4.80 to 5.60, "
        "n = 3) on 144 images, 0.2 million multiply-adds per image and 0.02 million parameters. It has the "
        "lowest error, and no other choice with fewer multiply-adds is within one standard error of it. The "
        "runner-up is resnet at depth 14: 5.80 % (standard error 0.23, seeds 5.40 to 6.20, n = 3), with 0.7 "
        "times as many multiply-adds.",
        "Shallowest depth of each network within one standard error of its best depth: plain 8, resnet 20.",
    ]
    near = runs.assign(val_error=runs["val_error"].where(runs["depth"] > 8, 5.3))
    assert choosing.choice(choose(near))[0] == (
        "Recommended: plain at depth 8, validation error 5.30 % (standard error 0.00, seeds 5.30 to 5.30, "
        "n = 3), 0.08 million multiply-adds per image and 0.008 million parameters. It has the fewest "
        "multiply-adds of all choices within one standard error of the best. The best, and the runner-up, is "
        "resnet at depth 20: 5.20 % (standard error 0.23, seeds 4.80 to 5.60, n = 3), with 2.5 times as many "
        "multiply-adds."
    )
    some = near[(near["seed"] < 2) | (near["depth"] != 8) | (near["network"] != "resnet")]
    assert choosing.choice(choose(some))[0] == "Depths with fewer than 3 seeds are not considered."
    caution, same, _ = choosing.choice(choose(near), unfinished=2)
    assert caution == "This may change: 2 runs of the study have no final errors yet."
    assert same.startswith("Recommended: plain at depth 8")


def test_the_recommendation_names_classes_that_are_rarely_recognised(validated):
    recalls = {"cat": 0.0, "dog": 90.0, "owl": 30.0, "fox": 84.0}
    classes = pd.DataFrame(recalls.items(), columns=["class", "mean"])
    classes = classes.assign(network="resnet", depth=20, metric="recall")
    table = choose(validated.runs)
    assert choosing.choice(table, classes=classes)[1] == (
        "Caution: on the test images, this network and depth has a recall below half of the mean over the "
        "classes (51.00 %) for cat (0.00 %)."
    )
    many = pd.concat([classes, *(classes.iloc[:1].assign(**{"class": f"bird {i}"}) for i in range(5))])
    assert choosing.choice(table, classes=many)[1].endswith(" (0.00 %) and 1 more.")
    assert len(choosing.choice(table, classes=classes.assign(depth=14))) == 2


def test_the_validation_images_are_counted_or_known_from_the_study():
    (run,) = study_of(networks=("plain",), depths=(8,), seeds=(0,)).runs()
    old, new = Record.of(run), Record.of(run, val_images=1440)
    assert choosing.validation_images([old, new], {"val_fraction": 0.1}) == "1,440 images"
    assert choosing.validation_images([old], {"val_size": 5000}) == "5,000 images"
    assert choosing.validation_images([old], {"val_fraction": 0.1}) == "10 % of the training images"
    assert choosing.validation_images([old], {}) == ""


def test_without_a_recommendation_the_sentence_names_what_it_needs(results, validated):
    (sentence,) = choosing.choice(choose(results.runs))
    assert "--set data.val_fraction=0.1" in sentence
    (sentence,) = choosing.choice(choose(validated.runs.query("seed < 2")))
    assert sentence == (
        "No depth is recommended: this needs at least 3 finished seeds of a network and depth, but there are "
        "2 at most. Add `--seeds 3`."
    )


def test_one_depth_has_no_recommendation(validated):
    assert choosing.choice(choose(validated.runs.query("network == 'plain' and depth == 8"))) == []


def test_pareto_optimal_networks_are_named_with_their_uncertainty():
    """Seed 1 alone would leave out plain 20, and seed 2 plain 8."""
    errors = {
        ("plain", 8): [9.0, 9.0, 9.0],
        ("plain", 20): [5.0, 9.0, 4.0],
        ("wide", 4): [10.0, 9.5, 2.0],
        ("wide", 30): [9.0, 9.0, 9.0],
    }
    runs = runs_of(errors)
    first, others = choosing.pareto(choose(runs))
    assert first == (
        "Lowest validation error for their multiply-adds: wide 4 (8.0 k, 7.17 ± 2.59 %, 3 of 3 seeds) and "
        "plain 20 (40.0 k, 6.00 ± 1.53 %, 1 of 3 seeds). Brackets give multiply-adds per image, the mean "
        "error with its standard error, and in how many seeds the same holds."
    )
    assert others == "Lowest for their parameters: the same. Lowest for their time: the same."
    runs["parameters"] = runs["parameters"].where(runs["network"] == "plain", 1e6)
    _, others = choosing.pareto(choose(runs), incomparable=["seconds"])
    assert others == "Lowest for their parameters: plain 8 and plain 20."


def test_without_a_standard_error_or_another_row_less_is_said():
    (first, _) = choosing.pareto(choose(runs_of({("plain", 8): [9.0], ("plain", 20): [5.0]})))
    assert "plain 8 (16.0 k, 9.00 %, 1 of 1 seed) and plain 20 (40.0 k, 5.00 %, 1 of 1 seed)." in first
    assert choosing.pareto(choose(runs_of({("plain", 8): [9.0]}))) == []
    watched = runs_of({("mine", 8): [9.0], ("mine", 20): [5.0]}, multiply_adds=None)  # in another loop
    assert choosing.pareto(choose(watched)) == []


def test_a_long_front_is_cut():
    (first, _) = choosing.pareto(choose(runs_of({("plain", d): [100.0 - d] for d in range(1, 10)})))
    assert "plain 6 (12.0 k, 94.00 %, 1 of 1 seed) and 3 more in the table." in first
