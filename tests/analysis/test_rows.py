import pandas as pd

from depthbench.analysis.rows import rows_of


def test_each_row_is_a_dict_of_python_values():
    rows = rows_of(pd.DataFrame({"network": ["plain", "resnet"], "depth": [8, 20]}))
    assert rows == [{"network": "plain", "depth": 8}, {"network": "resnet", "depth": 20}]
    assert type(rows[0]["depth"]) is int
