import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from depthbench.data.images import with_validation
from depthbench.data.load import load_images
from depthbench.data.mapped import Mapped
from depthbench.data.placement import place_images
from depthbench.data.settings import Data
from depthbench.errors import BadInput
from depthbench.execution.cost import memory
from depthbench.execution.cost.memory import (
    CONTEXT,
    PROCESS,
    READER,
    SHARED,
    Sizes,
    count_run,
    fit,
    in_common,
    run_memory,
    sizes,
    together,
)
from depthbench.networks import NETWORKS, Family
from tests.data.photographs import write_photographs

LARGE = Sizes(shape=(3, 32, 32), classes=10, held=0, evaluated=100)
GB = 10**9


@pytest.fixture
def free(monkeypatch):
    """Sets how many bytes are free."""
    return lambda size: monkeypatch.setattr(memory, "available", lambda device: size)


@pytest.fixture
def runs(tiny):
    def make(*depths, network="resnet", seeds=1, **recipe):
        grid = {"network": [network], "depth": list(depths), "seed": list(range(seeds))}
        return list(tiny(grid=grid, options={"width": 16}, recipe={"batch_size": 128} | recipe).runs())

    return make


def test_a_study_of_small_networks_is_settled_without_counting(runs, free, monkeypatch):
    free(100 * GB)
    monkeypatch.setattr(memory, "count_run", None)
    assert fit(runs(8, 20, seeds=2), LARGE, "cpu", 4) == (4, frozenset(), ())


@pytest.mark.parametrize("options", [{}, {"dropout": 0.5, "activation": "silu"}, {"shortcut": "C"}])
@pytest.mark.parametrize("depth", [8, 110])
def test_the_bound_is_one(tiny, options, depth):
    study = tiny(grid={"depth": [depth]}, options={"width": 16} | options, recipe={"batch_size": 128})
    for run in study.runs():
        training = run_memory(run, LARGE, "cpu", recompute=False) - PROCESS - SHARED
        assert training <= memory._at_most(run, LARGE)


def test_nothing_is_known_of_a_users_network(runs, monkeypatch):
    monkeypatch.setitem(NETWORKS, "own", Family(Linear))
    assert memory._at_most(runs(8, network="own")[0], LARGE) == float("inf")


def test_fewer_at_once_where_the_largest_do_not_fit(runs, free):
    study = runs(8, 56, seeds=3)
    one = run_memory(study[-1], LARGE, "cpu", recompute=False)
    assert 1.5 * GB < one < 1.8 * GB
    free(5 * GB)
    assert fit(study, LARGE, "cpu", 3) == (3, frozenset(), ())
    free(4 * GB)
    found = fit(study, LARGE, "cpu", 3)
    assert (found.jobs, found.recomputed) == (2, frozenset())
    assert found.notes == ("the 3 largest runs need about 4.1 GB together and 4.0 GB are free: 2 at a time",)


def test_what_a_person_has_chosen_is_done(runs, free):
    free(4 * GB)
    found = fit(runs(8, 56, seeds=3), LARGE, "cpu", 3, is_chosen=True)
    assert found.jobs == 3
    assert found.notes == (
        "--jobs 3: the 3 largest runs need about 4.1 GB together and 4.0 GB are free: some may be slow, "
        "or killed; --jobs 2 needs less",
    )


def test_only_the_run_that_does_not_fit_alone_computes_its_activations_twice(runs, free):
    free(3 * GB)
    found = fit(runs(20, 302), LARGE, "cpu", 1)
    assert found.recomputed == {("resnet", 302)}
    assert found.jobs == 1
    (note,) = found.notes
    assert note.startswith("resnet-302 needs about 4.")
    assert "at batch 128 and 3.0 GB are free: its activations are computed twice (about 1.9" in note


def test_a_run_that_does_not_fit_at_all_is_said_to_be_so(runs, free):
    free(1 * GB)
    found = fit(runs(302), LARGE, "cpu", 1)
    assert found.recomputed == {("resnet", 302)}
    assert "even with its activations computed twice and 1.0 GB are free: it may be killed" in found.notes[0]


def test_a_person_may_forbid_it_or_want_it_everywhere(runs, free):
    free(2 * GB)
    never = fit(runs(302), LARGE, "cpu", 1, recompute=False)
    assert never.recomputed == frozenset()
    assert never.notes[0].startswith("resnet-302 needs about 4.")
    assert never.notes[0].endswith("it may be killed; a smaller --batch-size needs less")
    free(100 * GB)
    always = fit(runs(8, 20), LARGE, "cpu", 1, recompute=True)
    assert always == (1, {("resnet", 8), ("resnet", 20)}, ())


class Linear(nn.Sequential):
    def __init__(self, depth, in_channels, num_classes, width=16):
        super().__init__(nn.Flatten(), nn.Linear(in_channels * 32 * 32, num_classes))


def test_a_users_network_is_built_only_where_it_is_asked_to_compute_again(runs, free, monkeypatch):
    free(GB)
    monkeypatch.setitem(NETWORKS, "own", Family(lambda **options: pytest.fail("built in the parent")))
    assert fit(runs(8, network="own"), LARGE, "cpu", 1) == (1, frozenset(), ())
    monkeypatch.setitem(NETWORKS, "own", Family(Linear))
    with pytest.raises(BadInput, match=r"--recompute: network 'own' has no blocks\(\)"):
        fit(runs(8, network="own"), LARGE, "cpu", 1, recompute=True)


def test_half_precision_and_other_optimisers(runs):
    def training(**recipe):
        return run_memory(runs(20, **recipe)[0], LARGE, "cpu", recompute=False) - PROCESS - SHARED

    parameters = count_run(runs(20)[0], LARGE).parameter_bytes
    assert training(optimizer="adam") - training() == parameters
    assert training() - training(momentum=0.0) == parameters
    activations = training() - 4 * parameters
    assert training(precision="bf16") - 4 * parameters == pytest.approx(activations / 2, abs=1)


def test_images_that_every_process_holds(digits):
    found = sizes(digits, 100, "cpu")
    assert found == Sizes((1, 8, 8), 10, held=1797 * 64, evaluated=100 + 360, copied=100 * 64)
    whole = Sizes((1, 8, 8), 10, held=1797 * 64, evaluated=1797)
    assert sizes(digits, None, "cpu") == sizes(digits, 1437, "cpu") == whole
    apart = with_validation(digits, Data(name="digits", val_size=37))
    assert sizes(apart, None, "cpu") == whole


def as_read(tmp_path):
    write_photographs(tmp_path, {"train": 2, "val": 1})
    return load_images(Data(path=str(tmp_path), decode="as_read", image_size=16), tmp_path)


@pytest.fixture
def in_file(digits, tmp_path):
    """The digits, their training images in a file, in a row or picked from all over it."""
    np.save(tmp_path / "x.npy", digits.train_x)
    file = np.load(tmp_path / "x.npy", mmap_mode="r")
    return lambda step=1: replace(digits, train_x=Mapped(file, np.arange(1437)[::step]))


def test_images_of_a_file_have_no_copy_unless_they_are_picked_or_streamed(digits, in_file, free):
    train, test = digits.train_x.nbytes, digits.test_x.nbytes
    for images, held in ((in_file(), test), (in_file(-1), train + test)):
        free(2 * (train + test))
        found = sizes(images, 100, "cpu")
        assert (found.held, found.copied, found.in_file) == (held, 6400, train)
        assert not found.are_streamed
        free(2 * (train + test) - 1)
        found = sizes(images, 100, "cpu")
        assert (found.held, found.copied, found.in_file) == (test, 0, 0)
        assert found.are_streamed


def test_a_gpu_holds_images_of_any_kind_where_they_fit(digits, in_file, free):
    size = 1797 * 64
    for images in (digits, in_file(), in_file(-1)):
        for available, held in ((4 * size, size), (4 * size - 1, 0)):
            free(available)
            found = sizes(images, 100, "cuda:0")
            assert (found.held, found.in_file, found.are_streamed) == (held, 0, held == 0)
            assert found.copied == (6400 if held else 0)


@pytest.mark.parametrize("step", [None, 1, -1])
@pytest.mark.parametrize("val_size", [None, 37])
def test_it_is_as_images_are_then_placed(digits, in_file, step, val_size):
    images = digits if step is None else in_file(step)
    images = with_validation(images, Data(name="digits", val_size=val_size))
    found, placed = sizes(images, None, "cpu"), place_images(images, torch.device("cpu"))
    there = [x for x, _ in (placed.train, *placed.sets.values())]
    given = images.pixels
    files = [getattr(x, "file", None) for x in given]
    copied = [f is None or not np.shares_memory(x.numpy(), f) for x, f in zip(there, files, strict=True)]
    assert found.are_streamed == placed.is_streamed
    assert found.held == sum(x.nbytes for x, is_copy in zip(there, copied, strict=True) if is_copy)


def test_another_device_that_is_no_gpu_of_its_own_memory_has_a_copy(digits, in_file):
    found = sizes(in_file(), None, "mps")
    assert (found.held, found.in_file) == (1797 * 64, digits.train_x.nbytes)


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_images_that_are_decoded_as_they_are_read_are_held_nowhere(tmp_path, free, device):
    free(GB)
    found = sizes(as_read(tmp_path), 1, device)
    assert (found.held, found.copied, found.in_file, found.are_streamed) == (0, 0, 0, True)


def test_a_run_has_the_memory_of_its_readers(runs):
    run, streamed = runs(8)[0], LARGE._replace(are_streamed=True)
    without = run_memory(run, LARGE, "cpu", False, threads=3)
    reader = READER + 2 * 128 * 3 * 32 * 32  # two batches ahead
    assert run_memory(run, streamed, "cpu", False, threads=3) == without + 3 * reader
    assert run_memory(run, streamed, "cuda:0", False, 3) == run_memory(run, LARGE, "cuda:0", False, 3)


def test_fewer_runs_at_once_have_more_readers_each(runs, free, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(4)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(memory, "CERTAIN", 0)  # no bound will do
    study, streamed = runs(8, seeds=4), LARGE._replace(are_streamed=True)
    reader = READER + 2 * 128 * 3 * 32 * 32
    two = together([run_memory(study[0], LARGE, "cpu", False)] * 2, SHARED)
    for spare, jobs in ((10, 2), (-10, 1)):
        free((two + 4 * reader) / memory.ROOM + spare)
        assert fit(study, streamed, "cpu", 4).jobs == jobs


def test_what_runs_share_is_there_once():
    assert together([105, 104, 103], common=100) == 112
    assert together([], common=100) == 0


def test_processes_share_libraries_and_not_what_each_holds(runs):
    images = LARGE._replace(held=5, copied=7)
    assert in_common(images, "cpu", False) == SHARED
    without = run_memory(runs(8)[0], LARGE, "cpu", False)
    assert run_memory(runs(8)[0], images, "cpu", False) == without + 5 + 7


def test_the_pages_of_a_file_keep_others_from_starting_beside_a_run_and_no_run(runs, free):
    """They are given back where memory is short, and are slow to read again."""
    free(4 * GB)
    study, large = runs(56, seeds=4), LARGE._replace(in_file=100 * GB)
    assert fit(study, large, "cpu", 1) == fit(study, LARGE, "cpu", 1)
    assert fit(study, LARGE, "cpu", 4).jobs > 1
    assert fit(study, large, "cpu", 4)[:2] == (1, frozenset())


def test_runs_that_take_turns_on_a_gpu_share_libraries_and_images(runs, free):
    """And the memory of the machine is none of the GPU's."""
    study, images = runs(8, seeds=4), LARGE._replace(held=GB)
    one = run_memory(study[0], images, "cuda:0", False)
    assert CONTEXT + GB < one < CONTEXT + GB + PROCESS
    assert in_common(images, "cuda:0", True) == CONTEXT + GB
    assert in_common(images, "cuda:0", False) == 0  # each in a process of its own
    for in_turns, four in ((True, 4 * one - 3 * (CONTEXT + GB)), (False, 4 * one)):
        for spare, jobs in ((10, 4), (-10, 3)):
            free(four / memory.ROOM + spare)
            assert fit(study, images, "cuda:0", 4, in_turns=in_turns).jobs == jobs
