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


def test_a_restored_tracker_continues():
    tracker, other = Tracker(), Tracker()
    tracker.see(row(1, 30.0, 20.0))
    other.restore(tracker.state())
    other.see(row(2, 10.0, 25.0))
    assert other.selected == (30.0, 1)
    assert tracker.best == (30.0, 1)
