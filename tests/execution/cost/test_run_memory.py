from dataclasses import replace

import pytest
from torch import nn

from depthbench.execution.cost.images import ImageFootprint
from depthbench.execution.cost.run_memory import (
    PROCESS,
    READER,
    SHARED,
    _bound_on_training,
    common_memory,
    count_run,
    memory_of_all,
    run_memory,
)
from depthbench.networks import NETWORKS, Family
from depthbench.networks.options import NetworkOptions

LARGE = ImageFootprint(shape=(3, 32, 32), classes=10, held=0, evaluated=100)


@pytest.mark.parametrize("options", [{}, {"dropout": 0.5, "activation": "silu"}, {"shortcut": "C"}])
@pytest.mark.parametrize("depth", [8, 110])
def test_the_memory_bound_is_an_upper_bound(tiny, options, depth):
    study = tiny(grid={"depth": [depth]}, options={"width": 16} | options, recipe={"batch_size": 128})
    for run in study.runs():
        training = run_memory(run, LARGE, "cpu", recompute=False) - PROCESS - SHARED
        assert training <= _bound_on_training(run, LARGE)


COVERED = [{"width": 8}, {"shortcut": "C"}, {"norm": "none"}, {"init": "xavier"}, {"activation": "silu"}]
COVERED += [{"dropout": 0.5}, {"branch_scale": 0.5}, {"gate_bias": 0.0}, {"bottleneck_stride": "3x3"}]
UNCOVERED = [{"order": "full_pre"}, {"gate": "exclusive"}, {"shortcut_scale": 0.5}, {"shortcut_dropout": 0.5}]
UNCOVERED += [{"survival": 0.5}]


@pytest.mark.parametrize("options", [*COVERED, *UNCOVERED])
def test_an_option_outside_the_bound_makes_the_memory_be_counted(tiny, options):
    run, *_ = tiny(grid={"network": ["resnet"], "depth": [8]}, options=options).runs()
    assert (_bound_on_training(run, LARGE) < float("inf")) == (options in COVERED)


def test_a_new_option_is_counted_until_its_family_covers_it(tiny, monkeypatch):
    run, *_ = tiny(grid={"network": ["resnet"], "depth": [8]}, options={"norm": "group"}).runs()
    family = NETWORKS["resnet"]
    bound = replace(family.memory, covers=family.memory.covers - {"norm"})
    assert _bound_on_training(run, LARGE) < float("inf")
    monkeypatch.setitem(NETWORKS, "resnet", replace(family, memory=bound))
    assert _bound_on_training(run, LARGE) == float("inf")


@pytest.mark.parametrize("network", ["preresnet", "resnet_bottleneck", "resnet_imagenet", "resnet_mlp"])
def test_a_family_without_a_bound_is_counted(tiny, network):
    depth = NETWORKS[network].depths.depth(1)
    run, *_ = tiny(grid={"network": [network], "depth": [depth]}).runs()
    assert _bound_on_training(run, LARGE) == float("inf")


def test_the_memory_of_a_plugins_network_is_unknown(runs, monkeypatch):
    monkeypatch.setitem(NETWORKS, "own", Family(object))
    assert _bound_on_training(runs(8, network="own")[0], LARGE) == float("inf")


def test_half_precision_and_other_optimisers(runs):
    def training(**recipe):
        return run_memory(runs(20, **recipe)[0], LARGE, "cpu", recompute=False) - PROCESS - SHARED

    parameters = count_run(runs(20)[0], LARGE).parameter_bytes
    assert training(optimizer="adam") - training() == parameters
    assert training() - training(momentum=0.0) == parameters
    activations = training() - 4 * parameters
    assert training(precision="bf16") - 4 * parameters == pytest.approx(activations / 2, abs=1)


def test_a_run_has_the_memory_of_its_readers(runs):
    run, streamed = runs(8)[0], replace(LARGE, are_streamed=True)
    without = run_memory(run, LARGE, "cpu", recompute=False, threads=3)
    reader = READER + 2 * 128 * 3 * 32 * 32  # two batches ahead
    assert run_memory(run, streamed, "cpu", recompute=False, threads=3) == without + 3 * reader
    assert run_memory(run, streamed, "cuda:0", recompute=False, threads=3) == run_memory(
        run, LARGE, "cuda:0", recompute=False, threads=3
    )


def test_shared_memory_counts_once():
    assert memory_of_all([105, 104, 103], common=100) == 112
    assert memory_of_all([], common=100) == 0


def test_processes_share_libraries_but_not_their_images(runs):
    images = replace(LARGE, held=5, evaluation_copy=7)
    assert common_memory(images, "cpu", False) == SHARED
    without = run_memory(runs(8)[0], LARGE, "cpu", recompute=False)
    assert run_memory(runs(8)[0], images, "cpu", recompute=False) == without + 5 + 7


def test_a_network_that_gets_its_shapes_from_the_first_batch_is_counted(tiny, monkeypatch):
    def build(depth, in_channels, num_classes):
        return nn.Sequential(nn.Flatten(), nn.LazyLinear(5), nn.LazyLinear(num_classes))

    run, *_ = tiny(grid={"network": ["resnet"], "depth": [8]}).runs()
    monkeypatch.setitem(NETWORKS, "lazy", Family(build))
    run = run.model_copy(update={"network": "lazy", "options": NetworkOptions()})
    counts = count_run(run, LARGE)
    assert (counts.multiply_adds, counts.parameters) == (5 * 3072 + 50, 5 * 3072 + 5 + 50 + 10)
