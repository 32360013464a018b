import pandas as pd

from depthbench.report.tables.classes import classes_table


def test_the_shown_table_has_the_worst_class_and_the_csv_has_all():
    keys = {"network": "plain", "depth": 8, "n": 2, "low": 40.0, "high": 90.0, "min": 50.0, "max": 80.0}
    rows = [("macro_f1", "", 70.0), ("recall", "cat", 80.0), ("recall", "dog", 60.0), ("recall", "yak", None)]
    table = classes_table(
        pd.DataFrame([keys | dict(zip(("metric", "class", "mean"), r, strict=True)) for r in rows])
    )
    (row,) = table.shown.to_dict("records")
    assert (row["macro F1, mean (%)"], row["macro F1, 95 % interval (%)"]) == ("70.00", "40.00 to 90.00")
    assert (row["worst class"], row["its recall, mean (%)"]) == ("dog", "60.00")
    assert len(table.raw) == 4


def test_classes_that_tie_for_the_worst_are_counted():
    keys = {"network": "plain", "depth": 8, "n": 3, "low": None, "high": None}
    rows = [("macro_f1", "", 3.0), ("recall", "cat", 0.0), ("recall", "dog", 0.0), ("recall", "owl", 90.0)]
    frame = pd.DataFrame([keys | dict(zip(("metric", "class", "mean"), r, strict=True)) for r in rows])
    (row,) = classes_table(frame.astype({"low": float, "high": float})).shown.to_dict("records")
    assert row["worst class"] == "cat and 1 more"
