from depthbench.analysis.unmeasured import COLUMNS, not_measured


def test_names_and_seeds_are_joined_by_network_depth_and_reason():
    table = not_measured(
        [
            ("a", 8, 0, {"x": "frozen", "y": "unused"}),
            ("a", 8, 1, {"x": "frozen", "z": "frozen"}),
            ("a", 14, 1, {"x": "frozen"}),
            ("b", 8, 0, {}),
        ]
    )
    assert table.to_dict("split")["data"] == [
        ["a", 8, "frozen", [0, 1], ["x", "z"]],
        ["a", 8, "unused", [0], ["y"]],
        ["a", 14, "frozen", [1], ["x"]],
    ]
    assert list(not_measured([])) == COLUMNS
