import pandas as pd

from depthbench.analysis.first_steps import first_steps


def probed(network="plain", depth=20, steps=(0, 1), run="a"):
    """Return layers whose value at layer l and step s is l + s / 1000. The classifier is the last layer."""
    return pd.DataFrame(
        {
            **{"run_id": run, "network": network, "depth": depth, "step": step, "layer": layer},
            **{"stage": "fc" if layer == depth else "1", "norm": layer + step / 1000},
        }
        for step in steps
        for layer in range(1, depth + 1)
    )


def test_three_layers_of_the_deepest_network():
    table = first_steps(pd.concat([probed(depth=8), probed(depth=20)]), "norm")
    assert set(table["depth"]) == {20}
    initial = table[table["step"] == 0].set_index("which_layer")
    assert initial["layer"].to_dict() == {"first": 2, "middle": 10, "last": 19}
    assert initial["mean"].round(9).to_dict() == {"first": 2, "middle": 10, "last": 19}


def test_each_network_has_its_own_deepest_depth():
    table = first_steps(pd.concat([probed(depth=8), probed("resnet", 14)]), "norm")
    assert table.groupby("network")["depth"].unique().map(list).to_dict() == {"plain": [8], "resnet": [14]}
    assert table.loc[table["which_layer"] == "last"].groupby("network")["layer"].first().to_dict() == {
        "plain": 7,
        "resnet": 13,
    }


def test_only_the_first_steps_are_used_in_the_order_probed():
    table = first_steps(pd.concat([probed(steps=(0, 5, 200)), probed("resnet", steps=(0, 1, 100))]), "norm")
    assert dict(zip(table["step"], table["order"], strict=True)) == {0: 0, 1: 1, 5: 2, 100: 3}


def test_the_smallest_networks_have_fewer_layers():
    assert first_steps(probed(depth=4, steps=(0,)), "norm")["which_layer"].tolist() == ["first", "last"]
    assert first_steps(probed(depth=2, steps=(0,)), "norm")["which_layer"].tolist() == ["first"]


def test_nothing_probed_early_is_an_empty_table():
    table = first_steps(probed(steps=(500,)), "norm")
    assert table.empty
    assert {"which_layer", "order", "mean", "n"} <= set(table)
