import pandas as pd

from depthbench.analysis.robustness import summarise_robustness


def test_a_row_for_each_strength_over_seeds():
    keys = {"network": "plain", "depth": 8, "corruption": "noisy"}
    rows = [keys | {"seed": s, "strength": x, "test_error": 10.0 * x + s} for s in (1, 3) for x in (0.0, 8.0)]
    table = summarise_robustness(pd.DataFrame(rows))
    assert table[["strength", "n", "mean", "min", "max"]].values.tolist() == [
        [0, 2, 2, 1, 3],
        [8, 2, 82, 81, 83],
    ]
    assert summarise_robustness(pd.DataFrame()).empty
