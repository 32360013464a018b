import pandas as pd

from depthbench.analysis.missing import missing_runs


def test_runs_without_final_errors_are_missing_in_the_order_of_the_grid():
    asked = [(depth, "plain", seed) for depth in (8, 14) for seed in (0, 1, 2)]
    columns = ["network", "depth", "seed", "status", "step", "steps", "reason"]
    stored = [
        ("plain", 8, 0, "done", 100, 100, None),
        ("plain", 8, 1, "diverged", 20, 100, None),
        ("plain", 14, 0, "failed", 0, 100, "out of memory"),
        ("plain", 14, 2, "interrupted", 60, 100, None),
    ]
    missing = missing_runs(asked, pd.DataFrame(stored, columns=columns))
    rows = missing[["depth", "seed", "status"]].to_numpy().tolist()
    assert rows == [[8, 2, "not started"], [14, 0, "failed"], [14, 1, "not started"], [14, 2, "interrupted"]]
    assert missing["step"].tolist() == [pd.NA, 0, pd.NA, 60]
    assert missing["reason"][1] == "out of memory"


def test_a_complete_study_has_no_missing_runs():
    stored = pd.DataFrame([{"network": "plain", "depth": 8, "seed": 0, "status": "done"}])
    assert missing_runs([(8, "plain", 0)], stored).empty
