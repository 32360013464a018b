import pytest

from depthbench.bench import BenchFailed
from depthbench.bench.case import Case
from depthbench.bench.messages import Setup
from depthbench.bench.team import Team

TINY = Case(8, True, 16, "fp32")


@pytest.mark.slow
def test_processes_work_together_and_a_death_is_reported():
    team = Team(Setup("ceiling", TINY, "cpu"), size=2, threads=1)
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
