"""F1, recall of each class, and confusion matrices. All values are percentages."""

import numpy as np
import pandas as pd

from depthbench.analysis.summary import over_seeds


def class_metrics(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each run and metric: its macro F1, and the recall of each class.

    `predictions` comes from `store.results.load_predictions`. Columns: run_id, network, depth, seed; metric,
    `macro_f1` or `recall`; class, the name of the class, empty for macro_f1; value. The F1 of a class is the
    harmonic mean of its precision and recall. Macro F1 is the mean over the classes that occur as a label or
    a prediction. The recall of a class without test images is NaN."""
    keys = ["run_id", "network", "depth", "seed"]
    columns = [*keys, "metric", "class", "value"]
    if predictions.empty:
        return pd.DataFrame(columns=columns)
    rows = []
    for run, images in predictions.groupby(keys, sort=False):
        classes, counts = images["label"].cat.categories, _counts(images)
        right, labelled, predicted = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
        with np.errstate(invalid="ignore"):  # 0 / 0 is NaN
            recalls, f1 = right / labelled, 2 * right / (labelled + predicted)
        values = [("macro_f1", "", np.nanmean(f1))]
        values += [("recall", name, recall) for name, recall in zip(classes, recalls, strict=True)]
        rows += [(*run, metric, name, 100 * value) for metric, name, value in values]
    return pd.DataFrame(rows, columns=columns)


def summarise_classes(metrics: pd.DataFrame) -> pd.DataFrame:
    """Summarise `class_metrics` over the seeds of each network, depth, metric and class.

    Added columns: n, the number of seeds; mean, low and high (its 95 % interval, NaN for n < 5), min, max.
    """
    keys = ["network", "depth", "metric", "class"]
    return over_seeds(metrics, keys, "value").sort_values(keys[:2], kind="stable", ignore_index=True)


def weak_classes(summary: pd.DataFrame, network: str, depth: int) -> tuple[dict[str, float], float]:
    """Return the classes whose recall is below half of the mean recall, and this mean over the classes.

    `summary` is `summarise_classes`. The first result is {class: recall}, the lowest recall first. It is
    empty, and the mean NaN, if the network and depth have no predictions."""
    rows = summary[
        (summary["network"] == network) & (summary["depth"] == depth) & (summary["metric"] == "recall")
    ]
    recalls = rows.set_index("class")["mean"].astype(float).sort_values()
    mean = float(recalls.mean())
    return {str(name): recall for name, recall in recalls.items() if recall < mean / 2}, mean


def confusion(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the percentage of the images of each class (rows) that are predicted as each class (columns).

    All runs of `predictions` are counted together. The row of a class without test images is 0."""
    classes, counts = predictions["label"].cat.categories, _counts(predictions)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return pd.DataFrame(100 * shares, index=classes, columns=classes)


def _counts(predictions: pd.DataFrame) -> np.ndarray:
    """Return the number of images of each class (rows) that are predicted as each class (columns)."""
    labels, predicted = (predictions[key].cat.codes.to_numpy(int) for key in ("label", "predicted"))
    number = len(predictions["label"].cat.categories)
    return np.bincount(number * labels + predicted, minlength=number**2).reshape(number, number)
