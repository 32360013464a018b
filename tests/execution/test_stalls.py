import pytest

from depthbench.events import Alive
from depthbench.execution import stalls
from depthbench.execution.stalls import StallWatch, in_minutes


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still. Set its time with `clock(seconds)`."""
    now = [0.0]
    monkeypatch.setattr(stalls.time, "monotonic", lambda: now[0])
    return lambda seconds: now.__setitem__(0, seconds)


@pytest.fixture
def runs(tiny):
    return list(tiny().runs())


def stalled_ids(watch):
    return [stall.run_id for stall in watch.stalled()]


@pytest.mark.parametrize(
    ("timeout", "longest_step", "allowed"), [(None, 2.0, 300), (None, 100.0, 1000), (0.5, 100.0, 30)]
)
def test_how_long_a_run_may_make_no_progress(clock, runs, timeout, longest_step, allowed):
    run, watch = runs[0], StallWatch(timeout)
    watch.start(run.run_id)
    watch.see(Alive(run, 3, longest_step))
    clock(allowed)
    assert watch.stalled() == []
    clock(allowed + 6)
    (stall,) = watch.stalled()
    assert stall.reason == f"no progress since step 3 for {in_minutes(allowed + 6)}"
    watch.end(run.run_id)
    assert watch.stalled() == []


def test_a_process_that_has_not_reported_anything_did_not_start(clock, runs):
    watch = StallWatch(0.5)
    watch.start(runs[0].run_id)
    clock(36)
    (stall,) = watch.stalled()
    assert stall.reason == "its process did not start within 36 seconds"
    assert in_minutes(90) == "1.5 minutes"


@pytest.mark.parametrize(("longest_step", "allowed"), [(2.0, 6), (100.0, 200)])
def test_after_ctrl_c_a_run_has_time_to_save(clock, runs, longest_step, allowed):
    watch = StallWatch()
    watch.start(runs[0].run_id)
    watch.see(Alive(runs[0], 3, longest_step))
    clock(9)
    watch.stop()
    clock(9 + allowed)
    assert watch.stalled() == []
    clock(10 + allowed)
    assert stalled_ids(watch) == [runs[0].run_id]


@pytest.mark.parametrize(("silent", "longest_step", "allowed"), [(30, 0.5, 3), (30, 4.0, 8), (9, 0.5, 6)])
def test_a_run_that_was_silent_before_it_was_asked_to_stop_has_less_time(
    clock, runs, silent, longest_step, allowed
):
    watch = StallWatch()
    watch.start(runs[0].run_id)
    watch.see(Alive(runs[0], 3, longest_step))
    clock(silent)
    watch.stop()
    clock(silent + allowed)
    assert watch.stalled() == []
    clock(silent + allowed + 1)
    assert stalled_ids(watch) == [runs[0].run_id]


def test_the_longest_stall_comes_first(clock, runs):
    watch = StallWatch(1.0)
    watch.start(runs[1].run_id)
    clock(10)
    watch.start(runs[0].run_id)
    clock(100)
    assert stalled_ids(watch) == [runs[1].run_id, runs[0].run_id]


def test_a_pause_of_the_whole_machine_is_no_stall(clock, runs):
    watch = StallWatch(1.0)
    watch.start(runs[0].run_id)
    clock(1000)
    watch.forgive(995)
    assert watch.stalled() == []
