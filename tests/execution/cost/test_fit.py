import os
from dataclasses import replace

import pytest
from torch import nn

from depthbench.errors import BadInput
from depthbench.execution.cost.fit import USABLE, Fit, fit
from depthbench.execution.cost.images import ImageFootprint
from depthbench.execution.cost.run_memory import (
    CONTEXT,
    PROCESS,
    READER,
    SHARED,
    common_memory,
    memory_of_all,
    run_memory,
)
from depthbench.execution.settings import Execution
from depthbench.networks import NETWORKS, Family

LARGE = ImageFootprint(shape=(3, 32, 32), classes=10, held=0, evaluated=100)
GB = 10**9


def test_small_networks_fit_without_being_counted(runs, free, monkeypatch):
    free(100 * GB)
    monkeypatch.setattr("depthbench.execution.cost.fit.count_run", None)
    assert fit(runs(8, 20, seeds=2), LARGE, "cpu", 4) == Fit(4)


def test_fewer_runs_train_at_once_if_the_largest_do_not_fit_together(runs, free):
    study = runs(8, 56, seeds=3)
    one = run_memory(study[-1], LARGE, "cpu", recompute=False)
    assert 1.5 * GB < one < 1.8 * GB
    free(5 * GB)
    assert fit(study, LARGE, "cpu", 3) == Fit(3)
    free(4 * GB)
    fitted = fit(study, LARGE, "cpu", 3)
    assert (fitted.jobs, fitted.recomputed) == (2, frozenset())
    assert fitted.notes == (
        "the 3 largest runs need about 4.1 GB together, but only 4.0 GB are free, so at most 2 train at a "
        "time",
    )


def test_a_chosen_number_of_jobs_is_kept_with_a_warning(runs, free):
    free(4 * GB)
    fitted = fit(runs(8, 56, seeds=3), LARGE, "cpu", 3, execution=Execution(jobs=3))
    assert fitted.jobs == 3
    assert fitted.notes == (
        "--jobs 3: the 3 largest runs need about 4.1 GB together, but only 4.0 GB are free, so some may be "
        "slow or killed; --jobs 2 needs less",
    )


def test_only_the_run_that_does_not_fit_alone_computes_its_activations_twice(runs, free):
    free(3 * GB)
    fitted = fit(runs(20, 302), LARGE, "cpu", 1)
    assert fitted.recomputed == {("resnet", 302)}
    assert fitted.jobs == 1
    (note,) = fitted.notes
    assert note.startswith("resnet-302 needs about 4.")
    assert (
        "at batch 128, but only 3.0 GB are free, so its activations are computed twice (which needs about 1.9"
        in note
    )


def test_a_run_that_does_not_fit_even_with_recomputation_has_a_note(runs, free):
    free(1 * GB)
    fitted = fit(runs(302), LARGE, "cpu", 1)
    assert fitted.recomputed == {("resnet", 302)}
    assert (
        "even if it computes its activations twice, but only 1.0 GB are free, so it may be killed"
        in fitted.notes[0]
    )


def test_recomputation_can_be_forbidden_or_forced(runs, free):
    free(2 * GB)
    never = fit(runs(302), LARGE, "cpu", 1, execution=Execution(recompute=False))
    assert never.recomputed == frozenset()
    assert never.notes[0].startswith("resnet-302 needs about 4.")
    assert never.notes[0].endswith("so it may be killed; use a smaller --batch-size")
    free(100 * GB)
    always = fit(runs(8, 20), LARGE, "cpu", 1, execution=Execution(recompute=True))
    assert always == Fit(1, frozenset({("resnet", 8), ("resnet", 20)}))


class Linear(nn.Sequential):
    def __init__(self, depth, in_channels, num_classes, width=16):
        super().__init__(nn.Flatten(), nn.Linear(in_channels * 32 * 32, num_classes))


def test_a_plugins_network_is_built_only_if_recomputation_is_forced(runs, free, monkeypatch):
    free(GB)
    monkeypatch.setitem(NETWORKS, "own", Family(lambda **options: pytest.fail("built in the parent")))
    assert fit(runs(8, network="own"), LARGE, "cpu", 1) == Fit(1)
    monkeypatch.setitem(NETWORKS, "own", Family(Linear))
    with pytest.raises(BadInput, match=r"--recompute: network 'own' has no blocks\(\)"):
        fit(runs(8, network="own"), LARGE, "cpu", 1, execution=Execution(recompute=True))


def test_fewer_runs_at_once_have_more_readers_each(runs, free, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(4)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr("depthbench.execution.cost.fit.CLEARLY_FITS", 0)  # so that the memory is counted
    study, streamed = runs(8, seeds=4), replace(LARGE, are_streamed=True)
    reader = READER + 2 * 128 * 3 * 32 * 32
    two = memory_of_all([run_memory(study[0], LARGE, "cpu", recompute=False)] * 2, SHARED)
    for spare, jobs in ((10, 2), (-10, 1)):
        free((two + 4 * reader) / USABLE + spare)
        assert fit(study, streamed, "cpu", 4).jobs == jobs


def test_the_pages_of_an_image_file_limit_the_jobs_but_not_a_single_run(runs, free):
    """The system can take these pages back, but reading them again is slow."""
    free(4 * GB)
    study, large = runs(56, seeds=4), replace(LARGE, in_file=100 * GB)
    assert fit(study, large, "cpu", 1) == fit(study, LARGE, "cpu", 1)
    assert fit(study, LARGE, "cpu", 4).jobs > 1
    assert replace(fit(study, large, "cpu", 4), notes=()) == Fit(1)


def test_runs_that_take_turns_on_a_gpu_share_libraries_and_images(runs, free):
    """The memory of the host does not count."""
    study, images = runs(8, seeds=4), replace(LARGE, held=GB)
    one = run_memory(study[0], images, "cuda:0", recompute=False)
    assert CONTEXT + GB < one < CONTEXT + GB + PROCESS
    assert common_memory(images, "cuda:0", True) == CONTEXT + GB
    assert common_memory(images, "cuda:0", False) == 0  # each run has its own process
    for in_turns, four in ((True, 4 * one - 3 * (CONTEXT + GB)), (False, 4 * one)):
        for spare, jobs in ((10, 4), (-10, 3)):
            free(four / USABLE + spare)
            assert fit(study, images, "cuda:0", 4, takes_turns=in_turns).jobs == jobs
