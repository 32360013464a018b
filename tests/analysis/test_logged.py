import pandas as pd

from depthbench.analysis.logged import history_with_batch_errors, with_batch_errors

ROWS = [
    {"run_id": "a", "loop": "watch", "train_error": 5.0, "train_error_eval": None},
    {"run_id": "b", "loop": "watch", "train_error": 5.0, "train_error_eval": 4.0},
    {"run_id": "c", "loop": None, "train_error": 5.0, "train_error_eval": None},
]


def test_batch_errors_stand_only_for_errors_that_another_loop_did_not_log():
    assert [row["train_error_eval"] for row in with_batch_errors(ROWS)] == [5.0, 4.0, None]
    assert ROWS[0]["train_error_eval"] is None


def test_the_history_of_these_runs_has_them_too():
    history = pd.DataFrame({"run_id": list("abc"), "train_error": 5.0, "train_error_eval": [None, 4.0, None]})
    filled = history_with_batch_errors(history, ROWS)["train_error_eval"]
    assert filled.fillna(-1).tolist() == [5.0, 4.0, -1]
    assert history_with_batch_errors(history, ROWS[1:]) is history
