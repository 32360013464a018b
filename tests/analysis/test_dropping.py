import numpy as np
import pandas as pd
import pytest

from depthbench.analysis.dropping import dropped, drops


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        ({"family": "resnet", "options.survival": 0.5}, "branches"),
        ({"family": "resnet", "options.survival": np.nan}, None),  # not set
        ({"family": "resnet"}, None),
        ({"family": "plain", "options.survival": 0.5}, None),  # has no branches
        ({"family": "fractalnet"}, "columns"),  # by default
        ({"family": "fractalnet", "options.drop_path": 0.0}, None),
        ({"family": "a plug-in", "options.survival": 0.5}, None),
        ({}, None),  # of watch
    ],
)
def test_what_a_run_drops(run, expected):
    assert drops({"depth": 20, **run}) == expected


def test_a_layer_is_dropped_if_its_gradient_passed_around_it():
    """In any order of rows, and whatever their index."""
    values = {"a": [0.0, 1.0, 0.0, np.inf], "b": [0.0, np.nan, 0.0, 2.0], "c": [1.0, 0.0, 0.0, 2.0]}
    expected = {"a": [3], "b": [], "c": [2, 3]}
    rows = [(run, 5, k, value) for run, row in values.items() for k, value in enumerate(row, start=1)]
    rows += [("a", 6, 1, 1.0), ("other", 5, 1, 1.0), ("other", 5, 2, 0.0)]
    layers = pd.DataFrame(rows, columns=["run_id", "step", "layer", "probe"]).iloc[::-1]
    layers.index = np.zeros(len(layers), int)
    runs = pd.DataFrame({"run_id": [*values, "other"], "family": "resnet", "depth": 20})
    runs["options.survival"] = [0.5, 0.5, 0.5, 1.0]
    found = layers[dropped(layers, "probe", runs)]
    assert {run: sorted(found.loc[found["run_id"] == run, "layer"]) for run in values} == expected
    assert len(found) == 3
