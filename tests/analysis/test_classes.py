import numpy as np
import pandas as pd
import pytest

from depthbench.analysis.classes import class_metrics, confusion, summarise_classes, weak_classes

CLASSES = ["zebra", "ant", "yak"]  # in no alphabetical order; no image shows a yak


def predicted(seed, label, called, depth=8):
    keys = {"run_id": f"plain-{depth}-s{seed}", "network": "plain", "depth": depth, "seed": seed}
    numbers = {"label": label, "predicted": called}
    names = {key: pd.Categorical.from_codes(codes, CLASSES) for key, codes in numbers.items()}
    return pd.DataFrame(keys | names)


TWO = pd.concat(
    [
        predicted(0, [0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 1]),
        predicted(1, [0, 0, 0, 0, 1, 1], [0, 1, 1, 1, 1, 1]),
    ]
)


def test_recall_and_macro_f1_by_hand():
    values = class_metrics(TWO).set_index(["seed", "metric", "class"])["value"]
    assert values[0, "recall"].tolist()[:2] == [75, 100]
    assert pd.isna(values[0, "recall", "yak"])  # no image of the class
    zebra, ant = 2 * 3 / (2 * 3 + 0 + 1), 2 * 2 / (2 * 2 + 1 + 0)  # 2 tp / (2 tp + fp + fn)
    assert values[0, "macro_f1", ""] == pytest.approx(100 * (zebra + ant) / 2)


def test_metrics_and_confusion_equal_those_of_scikit_learn():
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    rng = np.random.default_rng(0)
    labels, called = rng.integers(0, 2, 50), rng.integers(0, 3, 50)
    predictions = predicted(0, labels, called)
    _, recalls, f1, _ = precision_recall_fscore_support(labels, called, labels=range(3), zero_division=np.nan)
    values = class_metrics(predictions)["value"].to_numpy()
    np.testing.assert_array_equal(values, [100 * np.nanmean(f1), *(100 * recalls)])
    shares = 100 * confusion_matrix(labels, called, labels=range(3), normalize="true")
    np.testing.assert_array_equal(confusion(predictions), shares)


def test_a_class_that_is_never_predicted_counts_as_zero():
    values = class_metrics(predicted(0, [0, 1], [0, 0])).set_index(["metric", "class"])["value"]
    assert values["recall"].tolist()[:2] == [100, 0]
    assert values["macro_f1", ""] == pytest.approx(100 * (2 / 3) / 2)


def test_a_row_for_each_network_depth_and_class_over_seeds():
    summary = summarise_classes(class_metrics(TWO)).set_index(["metric", "class"])
    row = summary.loc[("recall", "zebra")]
    assert row[["network", "depth", "n", "mean", "min", "max"]].tolist() == ["plain", 8, 2, 50, 25, 75]
    assert row[["low", "high"]].isna().all()  # two seeds have no interval
    assert summary.index.tolist() == [("macro_f1", ""), *(("recall", name) for name in CLASSES)]


def test_a_row_of_the_confusion_matrix_is_a_class_and_adds_up_to_100():
    matrix = confusion(TWO)
    assert matrix.loc["zebra"].tolist() == [50, 50, 0]
    assert matrix.loc["ant"].tolist() == [0, 100, 0]
    assert matrix.sum(axis=1).tolist() == [100, 100, 0]


def test_without_predictions_the_tables_are_empty():
    assert summarise_classes(class_metrics(pd.DataFrame())).empty


def test_classes_below_half_of_the_mean_recall_are_weak():
    recalls = {"a": 88.1, "b": 0.0, "c": 31.9, "d": 100.0, "e": 100.0, "none": np.nan}  # a mean of 64 %
    rows = [
        {"network": network, "depth": 8, "metric": "recall", "class": name, "mean": recall * scale}
        for network, scale in (("plain", 1), ("resnet", 0))
        for name, recall in recalls.items()
    ]
    rows.append({"network": "plain", "depth": 8, "metric": "macro_f1", "class": "", "mean": 1.0})
    summary = pd.DataFrame(rows)
    weak, mean = weak_classes(summary, "plain", 8)
    assert list(weak.items()) == [("b", 0.0), ("c", 31.9)]
    assert mean == pytest.approx(64)
    assert weak_classes(summary, "resnet", 8) == ({}, 0)
    assert weak_classes(summary, "plain", 20)[0] == {}
