import pandas as pd

from depthbench.analysis.frontier import Search
from depthbench.report.tables.frontier import frontier_table


def test_the_frontier_in_numbers():
    by_seed = pd.DataFrame(
        {"network": ["a", "a", "b"], "seed": [0, 1, 0], "trains": [20, 26, None], "fails": [26, None, 8]}
        | {"tried": [3, 3, 1]}
    ).astype({"trains": "Int64", "fails": "Int64"})
    summary = pd.DataFrame(
        {"network": ["a", "b"], "n": [2, 1], "median": [23.0, 0.0], "low": [20.0, 0.0], "high": [26.0, 0.0]}
        | {"open": [1, 0], "expected": [15.66, float("inf")]}
    )
    table = frontier_table(Search(20.0, by_seed, summary))
    assert table.shown.to_numpy().tolist() == [
        ["a", "2", "23", "20 to 26", "0: 20, 26; 1: 26, none", "16"],
        ["b", "1", "0", "0 to 0", "0: none, 8", "any depth"],
    ]
    assert len(table.raw) == 3
    assert "below 20 %" in table.note
