"""The loops that are held beside each other, here and in a process of their own."""

import math

import pytest
import torch
from torch import nn

from depthbench.bench import BenchFailed
from depthbench.bench.case import Case
from depthbench.bench.ceiling import work
from depthbench.bench.conventional import Conventional
from depthbench.bench.ours import Ours
from depthbench.bench.team import Team
from depthbench.bench.timing import Timing, together
from depthbench.networks.cost import count_parameters
from depthbench.networks.small_maps import Convolution

TINY = Case(8, True, 16, "fp32")
CPU = torch.device("cpu")


def test_both_loops_train_the_same_network():
    conventional, ours = Conventional(TINY, CPU), Ours(TINY, CPU)
    assert count_parameters(conventional.network) == count_parameters(ours.unprobed.network)
    for theirs, mine in zip(
        conventional.network.parameters(), ours.unprobed.network.parameters(), strict=True
    ):
        assert torch.equal(theirs, mine)
    kinds = {type(module) for module in conventional.network.modules()}
    assert nn.Conv2d in kinds
    assert Convolution not in kinds  # which may be faster
    (timing,) = conventional.measure("steps", 3)
    assert (timing.label, timing.steps) == ("off", 3)
    assert 0 < conventional.loss < math.inf
    assert 0 <= conventional.correct <= 3 * TINY.batch_size


def test_ours_takes_turns_with_probes_and_without():
    ours = Ours(TINY, CPU)
    timings = ours.measure("probes", 3)
    assert [t.label for t in timings] == ["off", "every step", "every step", "off", "off", "every step"]
    assert sum(t.steps for t in timings) == 6
    assert (ours.unprobed.step, ours.probed.step) == (3, 3)
    assert [trainer.run.is_probed(2) for trainer in (ours.unprobed, ours.probed)] == [False, True]
    labels = [t.label for t in ours.measure("cadence", 20)]
    assert labels == ["off", "default", "default", "off"]


def test_lanes_take_turns_step_by_step():
    ours = Ours(TINY, CPU, lanes=2)
    (timing,) = ours.measure("steps", 3)
    assert timing.steps == 3
    assert [trainer.step for trainer in ours.lanes] == [3, 3]


def test_a_team_works_together_and_each_death_is_told():
    team = Team("ceiling", 2, 1, TINY, "cpu")
    try:
        team.wait()
        (alone,) = team.measure("copy", 2, jobs=1, threads=1)
        (both,) = team.measure("multiply", 1, jobs=2, threads=1)
        assert (alone.label, alone.steps, both.label, both.steps) == ("copy", 2, "multiply", 1)
        assert alone.began < alone.ended < both.began < both.ended
        team.members[1].kill()
        with pytest.raises(BenchFailed, match=r"digits-8, ceiling: its process was killed \(SIGKILL"):
            team.measure("copy", 1, jobs=2, threads=1)
    finally:
        team.kill()


def test_jobs_take_from_the_first_start_to_the_last_end():
    parts = [Timing("off", 3, 1.0, 4.0), Timing("off", 3, 2.0, 5.0)]
    assert together(parts) == Timing("off", 3, 1.0, 5.0)


def test_what_a_step_of_the_ceiling_is():
    assert work("multiply", "cpu") == 2 * 2048**3
    assert work("copy", "cuda:0") == 2 << 30
