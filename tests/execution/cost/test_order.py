from depthbench.execution.cost.order import by_cost, estimate_cost
from depthbench.study.file import load_study


def runs_of(depths=(20,), **study):
    grid = {"network": ["plain", "resnet"], "depth": list(depths), "seed": [0, 1]}
    return list(load_study(None, grid=grid, **study).resolve(1437, flips=False).runs())


def test_wider_networks_and_larger_batches_cost_more():
    (usual,) = {estimate_cost(run) for run in runs_of()}
    (wide,) = {estimate_cost(run) for run in runs_of(options={"width": 32})}
    (batch,) = {estimate_cost(run) for run in runs_of(recipe={"batch_size": 256})}
    assert (wide / usual, batch / usual) == (4, 2)


def test_the_most_expensive_runs_come_first_and_equal_ones_stay_in_order():
    variants = {"wide": {"of": "plain", "options": {"width": 64}}}
    grid = {"network": ["plain", "wide"], "depth": [8, 20], "seed": [1, 0]}
    study = load_study(None, grid=grid, variants=variants).resolve(1437, flips=False)
    names = [(run.network, run.depth, run.seed) for run in by_cost(study.runs())]
    assert names == [
        (network, depth, seed)
        for network, depth in [("wide", 20), ("wide", 8), ("plain", 20), ("plain", 8)]
        for seed in (1, 0)
    ]
