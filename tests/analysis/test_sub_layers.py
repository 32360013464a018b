"""Probes of transformers by block and sub-layer, on frames with known answers."""

import numpy as np
import pandas as pd
import pytest

from depthbench.analysis.sub_layers import by_sub_layer, last_block_slopes, of_blocks


def runs_of(placement="pre", family="transformer", depths=(2, 8), seeds=(0, 1, 2), **options):
    options = {"placement": placement, "init": "xavier", **options}
    return pd.DataFrame(
        [
            {"network": family, "family": family, "depth": depth, "seed": seed, "run_id": f"{depth}-{seed}"}
            | {f"options.{key}": value for key, value in options.items()}
            for depth in depths
            for seed in seeds
        ]
    )


def layers_of(runs: pd.DataFrame, exponent: float = -0.5) -> pd.DataFrame:
    """Two maps per sub-layer. The gradient of the MLP's last map in the last block is depth ** exponent."""
    rows = []
    for run in runs.itertuples():
        keys = {"network": run.network, "depth": run.depth, "seed": run.seed, "run_id": run.run_id, "step": 0}
        rows.append(keys | {"name": "patches.embed", "grad_norm_weight": 100.0, "response_std": 100.0})
        for block in range(run.depth):
            for place, (name, gradient) in enumerate(
                [("attention.value", 3.0), ("attention.output", 4.0), ("mlp.linear1", 0.0)]
            ):
                named = keys | {"name": f"encoder.blocks.{block}.{name}", "layer": place}
                rows.append(named | {"grad_norm_weight": gradient, "response_std": 10.0 * place + run.seed})
            last = (1 + 0.01 * run.seed) * float(run.depth) ** exponent
            named = keys | {"name": f"encoder.blocks.{block}.mlp.linear2"}
            rows.append(named | {"grad_norm_weight": last, "response_std": 1.0})
            for name in ("attention.shortcut.sum", "mlp.shortcut.sum"):
                rows.append(
                    keys | {"name": f"encoder.blocks.{block}.{name}", "branch_share": 1 / (block + 1)}
                )
    return pd.DataFrame(rows)


def test_rows_outside_of_blocks_and_of_networks_that_count_layers_are_left_out():
    runs = runs_of()
    layers = layers_of(runs)
    chosen = of_blocks(layers, runs)
    assert set(chosen["sub_layer"]) == {"attention", "mlp"}
    assert sorted(chosen.loc[chosen["depth"] == 8, "block"].unique()) == list(range(1, 9))
    assert of_blocks(layers, runs.assign(family="resnet")).empty
    assert of_blocks(layers, runs.assign(family="one of a plug-in")).empty


def test_the_gradient_of_a_sub_layer_is_over_its_maps_and_its_response_that_of_its_last():
    runs = runs_of()
    table = by_sub_layer(of_blocks(layers_of(runs), runs), runs)
    row = table[(table["sub_layer"] == "attention") & (table["depth"] == 2) & (table["block"] == 2)]
    row = row.set_index("quantity")
    assert row.loc["grad_norm_weight", ["mean", "low", "high", "n"]].tolist() == pytest.approx([5, 5, 5, 3])
    responses = np.array([10.0, 11.0, 12.0])
    assert row.loc["response_std", "mean"] == pytest.approx(np.exp(np.log(responses).mean()))
    assert row.loc["response_std", ["low", "high"]].tolist() == pytest.approx([10, 12])
    assert row.loc["branch_share", "mean"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("runs", "predicted"),
    [
        (runs_of("pre"), -0.5),
        (runs_of("post"), 0.0),
        (runs_of("deepnorm"), np.nan),
        (runs_of("pre", family="plain_transformer"), np.nan),
        (runs_of("pre", init="he"), np.nan),
        (runs_of("pre", branch_scale=0.5), np.nan),
        (runs_of("pre", dropout=0.1), np.nan),
    ],
)
def test_the_slope_of_the_last_block_is_measured_and_theory_is_named_where_it_holds(runs, predicted):
    (row,) = last_block_slopes(of_blocks(layers_of(runs, -0.3), runs), runs).to_dict("records")
    assert row["slope"] == pytest.approx(-0.3)
    assert (row["low"], row["high"]) == (pytest.approx(-0.3), pytest.approx(-0.3))
    assert (row["n"], row["depths"]) == (3, 2)
    assert row["predicted"] == pytest.approx(predicted, nan_ok=True)
    assert bool(row["source"]) == np.isfinite(predicted)


def test_one_depth_has_no_slope():
    runs = runs_of(depths=(2,))
    assert last_block_slopes(of_blocks(layers_of(runs), runs), runs).empty
