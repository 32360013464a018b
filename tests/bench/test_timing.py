from depthbench.bench.timing import Timing, together


def test_simultaneous_jobs_count_from_the_first_start_to_the_last_end():
    parts = [Timing("off", 3, 1.0, 4.0), Timing("off", 3, 2.0, 5.0)]
    assert together(parts) == Timing("off", 3, 1.0, 5.0)
