"""Finished runs that are trained again for their weights."""

import dataclasses

import pandas as pd
import pytest

from depthbench.execution.plan import make_plan
from depthbench.execution.retraining import DIVERGED, OTHER_RESULTS, store_to_train, store_weights
from depthbench.execution.run import execute
from depthbench.execution.settings import Execution
from depthbench.store.study_store import StudyStore
from depthbench.training.keeping import WEIGHTS, KeepWeights
from depthbench.training.loop import finish, train
from depthbench.training.mode import TrainingMode
from tests.training.test_loop import stop_after

NONE = TrainingMode(keep_weights=KeepWeights.parse("none"))
NEEDED = TrainingMode(needs_weights=True)


@pytest.fixture
def without_weights(tiny, trained):
    """A finished run without weights: the run, its record and its store."""
    run = next(tiny().runs())
    return run, *trained(run, mode=NONE)


def train_again(run, store, digits, **options):
    where = store_to_train(store, NEEDED)
    return where, finish(train(run, digits, where, NEEDED, data_hash="hash", **options))


def test_a_finished_run_is_trained_again_only_if_its_weights_are_needed(without_weights):
    _, _, store = without_weights
    assert store_to_train(store, TrainingMode()) is None
    assert store_to_train(store, NONE) is None
    assert store_to_train(store, NEEDED).path != store.path


def test_the_weights_are_added_and_the_results_stay(without_weights, digits):
    run, before, store = without_weights
    tables = {name: store.frame(name) for name in ("history", "layers", "predictions")}
    where, record = train_again(run, store, digits)
    assert store.read() == before  # until the weights are complete
    told = []
    after = store_weights(store, where, record, told.append)
    assert not told
    assert after == store.read()
    assert after.changed(weights={}) == before.changed(weights={})
    assert after.weights[WEIGHTS].step == 12
    assert store.is_finished()
    for name, table in tables.items():
        pd.testing.assert_frame_equal(store.frame(name), table)
    assert not where.path.parent.exists()
    assert store_to_train(store, NEEDED) is None


def test_an_interruption_keeps_the_results_and_the_rest_is_trained_later(without_weights, digits):
    run, before, store = without_weights
    where, record = train_again(run, store, digits, should_stop=stop_after(6))
    assert store_weights(store, where, record, pytest.fail).status == "interrupted"
    assert store.read() == before
    assert store.is_finished()
    where, record = train_again(run, store, digits)
    assert store_weights(store, where, record, pytest.fail).weights


def test_other_results_replace_the_stored_ones_and_are_announced(without_weights, digits):
    """As on another processor, whose sums round differently."""
    run, before, store = without_weights
    store.write(before.changed(final=before.final.changed(test_error=1.25)))
    where, record = train_again(run, store, digits)
    told = []
    after = store_weights(store, where, record, told.append)
    assert told == [OTHER_RESULTS]
    assert after.final == before.final
    assert store.is_finished()


def test_the_plan_counts_and_names_the_runs_that_lack_weights(tiny, tmp_path, digits):
    study = tiny(grid={"network": ["plain"], "seed": [0, 1]})
    first, second = study.runs()
    store = StudyStore(tmp_path / study.name)
    execution = Execution(tmp_path, device="cpu", jobs=1)
    with store.opened(study, digits.content_hash()):
        for run, mode in ((first, NONE), (second, TrainingMode())):
            finish(train(run, digits, store.run(run.run_id), mode, data_hash=digits.content_hash()))
    plan = make_plan(study, execution)
    assert (len(plan.finished), plan.todo) == (2, ())
    assert not plan.mode_of(first).needs_weights
    plan = make_plan(study, dataclasses.replace(execution, keep_weights="last"))
    assert [run.seed for run in plan.todo] == [0]
    assert any("1 finished run" in note and "--keep-weights last" in note for note in plan.notes)
    assert plan.mode_of(first).needs_weights
    assert make_plan(study, dataclasses.replace(execution, keep_weights="none")).todo == ()


def test_the_next_command_removes_only_checkpoints_that_were_not_asked_for(tiny, tmp_path, digits):
    study = tiny(grid={"network": ["plain"], "seed": [0, 1]})
    store = StudyStore(tmp_path / study.name)
    stores = []
    with store.opened(study, digits.content_hash()):
        for run, mode in zip(study.runs(), (TrainingMode(), TrainingMode(keep_checkpoint=True)), strict=True):
            stores.append(store.run(run.run_id))
            finish(train(run, digits, stores[-1], mode, data_hash=digits.content_hash()))
    stores[0].checkpoint.write_bytes(stores[1].checkpoint.read_bytes())  # as after a kill at the very end
    execute(make_plan(study, Execution(tmp_path, device="cpu", jobs=1)))
    assert [each.checkpoint.exists() for each in stores] == [False, True]


def test_the_best_weights_are_not_the_last_ones(tiny, trained, digits):
    study = tiny(evaluate={"every": 2}, recipe={"lr": 0.3})
    run = next(study.runs())
    record, store = trained(run)
    best = TrainingMode(keep_weights=KeepWeights.parse("best"), needs_weights=True)
    assert record.final.best_step < 12  # otherwise they would be the last ones
    where = store_to_train(store, best)
    record = finish(train(run, digits, where, best, data_hash="hash"))
    after = store_weights(store, where, record, pytest.fail)
    assert after.weights[WEIGHTS].step == after.final.best_step
    assert store_to_train(store, best) is None
    assert store_to_train(store, NEEDED) is not None  # now it lacks the last ones


def test_an_error_while_weights_are_taken_over_loses_nothing(without_weights, digits, monkeypatch):
    run, before, store = without_weights
    store.write(before.changed(final=before.final.changed(test_error=1.25)))  # so that tables are replaced
    where, record = train_again(run, store, digits)

    def fail(path, text):
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("depthbench.store.run_store.write_text", fail)
        with pytest.raises(OSError, match="No space"):
            store_weights(store, where, record, pytest.fail)
    assert store_to_train(store, NEEDED) is None  # the next command takes over what is complete
    assert store.read().final == before.final
    assert store.is_finished()
    assert not where.path.parent.exists()


def test_a_run_that_diverges_when_it_is_trained_again_keeps_its_results(without_weights, digits):
    _, before, store = without_weights
    where = store_to_train(store, NEEDED)
    told = []
    after = store_weights(store, where, before.changed(status="diverged"), told.append)
    assert told == [DIVERGED]
    assert after.changed(no_weights=None).final == before.final
    assert after.status == "done"
    assert store_to_train(store, NEEDED) is None  # not for ever


def test_weights_that_no_file_can_hold_are_asked_for_once(tiny, trained, monkeypatch):
    def refuse(*arguments):
        raise ValueError("complex numbers")

    monkeypatch.setattr("depthbench.training.loop.save_weights", refuse)
    record, store = trained(next(tiny().runs()))
    assert (record.status, record.no_weights) == ("done", "complex numbers")
    assert store_to_train(store, NEEDED) is None
