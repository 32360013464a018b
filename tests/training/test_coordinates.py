import io

import numpy as np
import pytest
import torch

from depthbench.analysis.coordinates import judge_coordinates, slope_interval
from depthbench.networks import NETWORKS
from depthbench.networks.depth_scaling import DepthScaling
from depthbench.store.results import load_coordinates
from depthbench.store.study_store import StudyStore
from depthbench.training.building import factors_in_branches, make_optimizer
from depthbench.training.coordinates import NUMBERS, Coordinates, sample
from depthbench.training.mode import TrainingMode
from depthbench.training.settings import Recipe
from depthbench.training.trainer import Trainer


def run_of(tiny, **changes):
    return next(tiny(**{"probe": {"coordinates": 3}, "grid": {"network": ["resnet"]}} | changes).runs())


def trained_to(trainer, step):
    while trainer.step < step:
        trainer.advance()
    return trainer


def test_sizes_and_changes_are_those_of_the_activations(tiny, digits):
    trainer = Trainer(run_of(tiny, options={"norm": "none"}), digits, TrainingMode())
    network, images = trainer.network, trainer.coordinates.images
    assert images.shape == (64, 1, 8, 8)

    @torch.no_grad()
    def activations():
        x = network.activation(network.norm1(network.conv1(images)))
        outputs = []
        for block in network.blocks():
            x = block(x)
            outputs.append(x.clone())
        return [*outputs, network(images)]

    start = activations()
    trained_to(trainer, 3)
    table, end = trainer.coordinates.table(), activations()
    assert table["step"].unique().tolist() == [0, 1, 2, 3]
    for row, before, after in zip(table[table["step"] == 3].itertuples(), start, end, strict=True):
        assert row.size == pytest.approx(after.square().mean().sqrt().item(), rel=1e-5)
        assert row.change == pytest.approx((after - before).square().mean().sqrt().item(), rel=1e-4)
    last = table[table["step"] == 0]
    assert last["part"].tolist() == ["block"] * 3 + ["logits"]
    assert last["block"].tolist() == [1, 2, 3, 3]
    assert not last["change"].any()


@pytest.mark.parametrize("options", [{"dropout": 0.5}, {"survival": 0.5, "norm": "batch"}])
def test_the_measurement_does_not_change_training(tiny, digits, options):
    measured = trained_to(Trainer(run_of(tiny, options=options), digits, TrainingMode()), 6)
    other = trained_to(Trainer(run_of(tiny, options=options, probe={}), digits, TrainingMode()), 6)
    for one, two in zip(
        measured.network.state_dict().values(), other.network.state_dict().values(), strict=True
    ):
        assert torch.equal(one, two)


def test_a_resumed_run_has_the_same_rows(tiny, digits):
    run = run_of(tiny)
    whole = trained_to(Trainer(run, digits, TrainingMode()), 5).coordinates.table()
    for stop in (0, 2, 4):
        file = io.BytesIO()
        torch.save(trained_to(Trainer(run, digits, TrainingMode()), stop).state(), file)
        file.seek(0)
        resumed = Trainer(run, digits, TrainingMode())
        resumed.restore(torch.load(file, weights_only=True))
        assert trained_to(resumed, 5).coordinates.table().equals(whole)


def test_large_activations_are_sampled_alike(tiny):
    x = torch.randn(4, NUMBERS)
    assert len(sample(x)) == NUMBERS
    assert torch.equal(sample(x) + 1, sample(x + 1))
    assert sample(x).square().mean().item() == pytest.approx(1, abs=0.03)


def test_a_network_without_blocks_has_the_logits_only(digits):
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    check = Coordinates(network, torch.randn(8, 1, 8, 8), 1, seed=0, precision="fp32")
    check.measure(0)
    assert check.table()[["part", "block", "blocks"]].values.tolist() == [["logits", 0, 0]]


def test_the_rows_are_stored_with_the_run(tiny, trained):
    _, store = trained(run_of(tiny), folder="study/runs")
    study = StudyStore(store.path.parent.parent)
    study.path.joinpath("study.toml").write_text('name = "study"\nformat = 1\n')
    table = load_coordinates(study.path)
    assert len(table) == 4 * 4
    assert judge_coordinates(table).empty  # of one depth


BLOCKS = (4, 12, 36)


def slopes_of(optimizer, alpha, *, rules="auto", lr, steps=2, seeds=(0, 1, 2)):
    """Return the slopes of the size and change of the last block of residual MLPs with layer norms."""
    logs: dict[str, list] = {"size": [], "change": []}
    for seed in seeds:
        values = {key: [] for key in logs}
        for blocks in BLOCKS:
            torch.manual_seed(seed)
            options = {"width": 32, "norm": "layer", "depth_alpha": alpha, "base_blocks": BLOCKS[0]}
            network = NETWORKS["resnet_mlp"](2 * blocks + 2, 32, 10, **options)
            recipe = Recipe(optimizer=optimizer, lr=lr, weight_decay=0.0, momentum=0.0, depth_rules=rules)
            scaling = DepthScaling(alpha, blocks, BLOCKS[0]) if alpha else None
            optimiser = make_optimizer(network, recipe, factors_in_branches(scaling, recipe))
            x, y = torch.randn(64, 32, 1, 1), torch.randint(10, (64,))
            check = Coordinates(network, x, steps, seed=0, precision="fp32")
            check.measure(0)
            for step in range(1, steps + 1):
                optimiser.zero_grad()
                torch.nn.functional.cross_entropy(network(x), y).backward()
                for group in optimiser.param_groups:
                    group["lr"] = lr * group.get("lr_scale", 1.0)
                optimiser.step()
                check.measure(step)
            table = check.table()
            last = table[(table["part"] == "block") & (table["block"] == blocks)].set_index("step")
            values["size"].append(last.loc[0, "size"])
            values["change"].append(last.loc[steps, "change"])
        for key, series in values.items():
            logs[key].append(np.polyfit(np.log(BLOCKS), np.log(series), 1)[0])
    return {key: slope_interval(np.array(series)) for key, series in logs.items()}


@pytest.mark.parametrize(
    ("optimizer", "alpha", "rules", "lr", "size", "change"),
    [
        ("adam", 0.0, "auto", 1e-3, 0.5, 1),  # independent branches add up to sqrt(L), their updates to L
        ("adam", 0.5, "auto", 1e-3, 0, 0),
        ("adam", 0.5, "none", 1e-3, 0, 0.5),
        ("sgd", 0.5, "auto", 0.05, 0, 0),
        ("sgd", 1.0, "auto", 0.05, -0.2, 0),  # CompleteP states no rule for SGD; this is ours
        ("sgd", 1.0, "none", 0.05, -0.2, -1),
    ],
)
def test_the_rules_make_size_and_change_independent_of_the_depth(optimizer, alpha, rules, lr, size, change):
    """At alpha = 1, the sum of the branches at step 0 falls as L^-1/2, and the size to that of the input."""
    slopes = slopes_of(optimizer, alpha, rules=rules, lr=lr)
    assert slopes["size"][0] == pytest.approx(size, abs=0.2)
    assert slopes["change"][0] == pytest.approx(change, abs=0.2)
