import pytest

from depthbench.execution.schedule import makespan


@pytest.mark.parametrize(
    ("seconds", "jobs", "end"),
    [
        ([5, 4, 3], 1, 12),
        ([5, 4, 3], 2, 7),  # 5 in one job, 4 + 3 in the other
        ([5, 4, 3, 3], 2, 8),  # 5 + 3 in one job, 4 + 3 in the other
        ([5, 5, 1], 2, 6),
        ([1, 1, 5], 2, 6),  # the longest run comes last
        ([2], 8, 2),
        ([], 3, 0),
    ],
)
def test_the_next_run_goes_to_the_job_that_is_free_first(seconds, jobs, end):
    assert makespan(seconds, jobs) == end
