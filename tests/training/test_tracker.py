import math

from depthbench.training.tracker import Tracker


def row(step, test, val=math.nan, train=1.0):
    return {
        "step": step,
        "test_error": test,
        "val_error": val,
        "train_error": train,
        "train_error_eval": train,
    }


def test_last_best_and_validation_selected_are_kept_apart():
    history = [row(1, 30.0, 20.0), row(2, 10.0, 25.0), row(3, 20.0, 15.0), row(4, 12.0, 18.0)]
    tracker = Tracker()
    for each in history:
        tracker.see(each)
    final = tracker.final(history, None)
    assert (final["test_error"], final["best_test_error"], final["val_selected_test_error"]) == (
        12.0,
        10.0,
        20.0,
    )
    assert (final["best_step"], final["val_selected_step"]) == (2, 3)
    assert tracker.evaluations_without_progress == 1


def test_without_validation_nothing_is_selected_by_it():
    history = [row(1, 30.0)]
    tracker = Tracker()
    tracker.see(history[0])
    final = tracker.final(history, None)
    assert final["val_error"] is None
    assert final["val_selected_test_error"] is None


def test_a_diverged_run_ends_at_chance_and_keeps_its_best():
    history = [row(1, 30.0), row(2, math.nan, train=math.nan)]
    tracker = Tracker()
    tracker.see(history[0])
    final = tracker.final(history, 90.0)
    assert final["test_error"] == final["train_error_eval"] == 90.0
    assert final["best_test_error"] == 30.0
    assert final["val_error"] is None


def test_validation_selects_a_step_without_a_test_error_too():
    tracker = Tracker()
    for each in (row(1, math.nan, 20.0), row(2, math.nan), row(3, math.nan, 10.0), row(4, math.nan, 15.0)):
        tracker.see(each)
    final = tracker.final([], None)
    assert (final["val_selected_test_error"], final["val_selected_step"]) == (None, 3)
    assert (final["best_test_error"], final["best_step"]) == (None, None)
    for each in (row(5, 30.0, 12.0), row(6, math.nan, 5.0)):
        tracker.see(each)
    assert tracker.selected == (30.0, 5)


def test_a_diverged_run_has_no_error_that_its_evaluations_did_not_measure():
    history = [row(1, math.nan, 5.8) | {"train_error_eval": math.nan}]
    tracker = Tracker()
    tracker.see(history[0])
    final = tracker.final(history, 90.0)
    assert (final["train_error"], final["val_error"]) == (90.0, 90.0)
    assert (final["train_error_eval"], final["test_error"]) == (None, None)


def test_a_restored_tracker_continues():
    tracker, other = Tracker(), Tracker()
    tracker.see(row(1, 30.0, 20.0))
    other.restore(tracker.state())
    other.see(row(2, 10.0, 25.0))
    assert other.selected == (30.0, 1)
    assert tracker.best == (30.0, 1)
