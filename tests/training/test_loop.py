import dataclasses
import math
import os
import shutil

import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from depthbench.data.batches import Batches, Scaling
from depthbench.data.source import Resident
from depthbench.events import Activity, Alive, Note, RowLogged
from depthbench.networks import NETWORKS
from depthbench.store.run_store import RunStore
from depthbench.training import trainer
from depthbench.training.evaluate import evaluate
from depthbench.training.keeping import WEIGHTS, KeepWeights, file_at
from depthbench.training.loop import finish, train
from depthbench.training.mode import TrainingMode
from depthbench.training.trainer import Trainer
from depthbench.training.weights import read_weights

KEEPING = TrainingMode(keep_checkpoint=True)


def stop_after(times):
    """Return a should_stop that is true after `times` calls.

    It is called before each step and before each batch of an evaluation."""
    asked = iter(range(times + 1))
    return lambda: next(asked) == times


def assert_same_tables(one, other):
    for name in ("history", "layers"):
        pd.testing.assert_frame_equal(one.frame(name), other.frame(name), check_exact=True)


def test_a_run_stores_its_record_and_tables(tiny, trained):
    run = next(tiny(data={"val_size": 100}).runs())
    record, store = trained(run)
    history, layers = store.frame("history"), store.frame("layers")
    assert record == store.read()
    assert record.status == "done"
    assert record.run_id == run.run_id
    assert record.val_images == 100
    assert history.step.tolist() == [4, 6, 8, 12]
    assert history.epoch.tolist() == [16 * step / 1337 for step in (4, 6, 8, 12)]
    evaluated = history.dropna(subset="test_error")
    assert evaluated.step.tolist() == [6, 12]
    assert evaluated[["train_error_eval", "val_error"]].notna().all(axis=None)
    assert sorted(layers.step.unique()) == [0, 1, 2, 5, 10, 11]
    assert layers[layers.step == 0].layer.tolist() == list(range(1, 9))
    assert layers.notna().all(axis=None)
    assert record.final.test_error == history.test_error.iloc[-1]
    assert not store.checkpoint.exists()


@pytest.mark.parametrize("options", [{}, {"norm": "none"}, {"norm": "group", "width": 8}])
def test_twins_have_the_same_initial_weights_and_batches(tiny, trained, options):
    plain, residual = (trained(run)[0] for run in tiny(options=options).runs())
    assert (plain.network, residual.network) == ("plain", "resnet")
    assert plain.hashes == residual.hashes
    assert plain.parameters == residual.parameters
    assert plain.final.train_error_eval != residual.final.train_error_eval


def test_seeds_differ_in_weights_and_batches(tiny, trained):
    study = tiny(grid={"network": ["plain"], "seed": [0, 1]})
    first, second = (trained(run)[0].hashes for run in study.runs())
    assert first.initial_weights != second.initial_weights
    assert first.batches != second.batches


def test_the_loop_equals_one_written_by_hand(tiny, trained, digits):
    """With the same seed, batches and torch's own SGD, losses and gradients are equal to the last digit."""
    recipe = {"steps": 3, "weight_decay": 0.01, "schedule": "constant"}
    run = next(tiny(recipe=recipe, evaluate={"log_every": 1}).runs())
    _, store = trained(run)

    torch.manual_seed(0)
    network = NETWORKS["plain"](depth=8, in_channels=1, width=4).to(memory_format=torch.channels_last)
    sgd = torch.optim.SGD(network.parameters(), 0.05, momentum=0.9, weight_decay=0.01, fused=True)
    scaling = Scaling(digits.train_x, "channel", torch.device("cpu"))
    x, y = torch.from_numpy(digits.train_x), torch.from_numpy(digits.train_y)
    batches = Batches(Resident(x, y), scaling, batch_size=16, seed=0, pad=1, flip=False)
    losses, norms = [], []
    for _ in range(3):
        x, y = batches.images(batches.take())
        sgd.zero_grad()
        loss = F.cross_entropy(network(x), y)
        loss.backward()
        losses.append(loss.item())
        norms += [layer.weighted.weight.grad.double().norm().item() for layer in network.weighted_layers()]
        sgd.step()
    assert store.frame("history").loss.tolist() == losses
    assert store.frame("layers").grad_norm_weight.tolist() == norms


@pytest.mark.parametrize(
    ("checks", "stopped_at"),
    [(0, 0), (1, 1), (5, 5), (6, 6), (8, 6), (13, 6)],  # the evaluation after step 6 makes nine checks
)
def test_a_resumed_run_equals_an_uninterrupted_one(tiny, trained, checks, stopped_at):
    options = {"dropout": 0.2, "survival": 0.7}  # draw from torch's generator, whose state must be restored
    study = tiny(
        options=options, data={"val_size": 100}, evaluate={"train_size": None}, grid={"network": ["resnet"]}
    )
    run = next(study.runs())
    whole, store = trained(run, folder="whole")
    half, parts = trained(run, folder="parts", should_stop=stop_after(checks))
    assert half.status == "interrupted"
    assert half.step == stopped_at
    torch.rand(7)  # changes the state of the generator
    events = []
    resumed, _ = trained(run, folder="parts", emit=events.append)
    notes = [event.text for event in events if isinstance(event, Note)]
    assert notes == [f"resuming from step {stopped_at}"]
    assert_same_tables(store, parts)
    assert resumed.final == whole.final
    assert resumed.hashes == whole.hashes


def test_a_resumed_run_draws_the_paths_of_an_uninterrupted_one(tiny, trained):
    run = next(tiny(grid={"network": ["fractalnet"], "depth": [10]}, options={"width": 2}).runs())
    whole, store = trained(run, folder="whole")
    assert trained(run, folder="parts", should_stop=stop_after(5))[0].status == "interrupted"
    torch.rand(7)  # changes the state of the generator
    resumed, parts = trained(run, folder="parts")
    assert_same_tables(store, parts)
    assert resumed.hashes == whole.hashes


def test_a_run_resumed_with_other_threads_has_a_note(tiny, trained):
    run, threads = next(tiny().runs()), torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        trained(run, should_stop=stop_after(1))
        torch.set_num_threads(1)
        events = []
        record, _ = trained(run, emit=events.append)
        assert record.environment.threads == 2
        assert [event.text for event in events if isinstance(event, Note)] == [
            "resuming from step 1, with 2 threads as before, not 1"
        ]
    finally:
        torch.set_num_threads(threads)


def test_the_warm_up_is_resumed(tiny, trained):
    recipe = {"warmup": "hold", "hold_from_depth": 8, "hold_until_train_error": 89.0, "steps": 230}
    run = next(tiny(recipe=recipe, probe={"names": []}, evaluate={"every": 230, "log_every": 30}).runs())
    _, store = trained(run, folder="whole")
    trained(run, folder="parts", should_stop=stop_after(150))
    _, parts = trained(run, folder="parts")
    assert_same_tables(store, parts)
    rates = store.frame("history").set_index("step").lr
    assert rates[90] == rates[100] == 0.01  # held for at least the first window
    assert rates[230] != 0.01  # not held once the error was below the bound


OFTEN = TrainingMode(checkpoint_seconds=0)


def test_stopping_twice_and_saving_often_changes_nothing(tiny, trained):
    run = next(tiny().runs())
    _, store = trained(run, folder="whole")
    trained(run, folder="parts", should_stop=stop_after(3), mode=OFTEN)
    trained(run, folder="parts", should_stop=stop_after(4), mode=OFTEN)
    record, parts = trained(run, folder="parts", mode=OFTEN)
    assert record.status == "done"
    assert_same_tables(store, parts)


def test_a_run_that_was_killed_before_its_first_checkpoint_says_so(tiny, trained):
    run = next(tiny(recipe={"steps": 1}, evaluate={"every": 1}).runs())
    _, store = trained(run)
    store.write(store.read().changed(status="interrupted"))
    events = []
    trained(run, emit=events.append)
    notes = [event.text for event in events if isinstance(event, Note)]
    assert notes == ["starting again from step 0: the earlier attempt stored no checkpoint"]


def truncate(file):
    file.write_bytes(file.read_bytes()[:1000])


def replace_optimizer(file):
    """Write a valid checkpoint that fits in part: the network is restored before the optimiser."""
    state = torch.load(file, weights_only=True)
    state["optimizer"] = {"state": {}, "param_groups": []}
    torch.save(state, file)


class Code:
    """A state that would delete the results when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.system, (f"rm -r '{self.folder}'",)


def write_code(file):
    torch.save({"run_id": file.parent.name, "step": 3, "network": Code(file.parent)}, file)


@pytest.mark.parametrize("damage", [truncate, replace_optimizer, write_code])
@pytest.mark.parametrize(
    ("broken", "consequence"),
    [
        (["checkpoint.pt"], "resuming from step 3"),
        (["checkpoint.pt", "checkpoint.before.pt"], "starting from step 0"),
    ],
)
def test_a_run_survives_a_checkpoint_that_cannot_be_used(tiny, trained, broken, consequence, damage):
    run = next(tiny().runs())
    _, store = trained(run, folder="whole")
    for steps in (3, 2):
        _, parts = trained(run, folder="parts", should_stop=stop_after(steps))
    for name in broken:
        damage(parts.path / name)
    events = []
    record, _ = trained(run, folder="parts", emit=events.append)
    assert consequence in events[0].text
    assert record.status == "done"
    assert_same_tables(store, parts)


def test_a_diverged_run_is_a_result_at_chance_error(tiny, trained):
    recipe = {"lr": 1e30, "steps": 40}
    run = next(tiny(recipe=recipe, options={"norm": "none"}, data={"val_size": 100}).runs())
    record, store = trained(run)
    history = store.frame("history")
    assert record.status == "diverged"
    assert record.step < 40
    assert not math.isfinite(history.loss.iloc[-1])
    final = record.final
    assert final.train_error_eval == final.test_error == final.train_error == 90.0
    assert not (store.path / "predictions.parquet").exists()
    assert store.is_finished()


def test_early_stopping_ends_a_run_that_no_longer_improves(tiny, trained):
    recipe = {"steps": 500, "lr": 1e-9, "patience": 2}
    run = next(tiny(recipe=recipe, data={"val_size": 100}).runs())
    record, store = trained(run)
    assert record.status == "done"
    assert record.steps == 500
    history = store.frame("history").dropna(subset="val_error")
    assert len(history) < 10
    lowest = history.val_error.min()
    assert (history.val_error.iloc[-2:] >= lowest).all()
    assert record.final.val_selected_step == history.step[history.val_error.idxmin()]


def test_a_checkpoint_is_kept_on_request_and_holds_the_trained_weights(tiny, trained):
    run = next(tiny().runs())
    _, store = trained(run, mode=KEEPING)
    state = torch.load(store.checkpoint, weights_only=True)
    assert state["step"] == 12
    network = NETWORKS["plain"](depth=8, in_channels=1, width=4)
    network.load_state_dict(state["network"])


def test_a_finished_run_with_a_kept_checkpoint_stays_finished(tiny, trained):
    run = next(tiny().runs())
    first, store = trained(run, mode=KEEPING)
    (store.path / "layers.parquet").unlink()
    again, _ = trained(run, mode=KEEPING)
    assert (again.status, again.step) == ("done", 12)
    assert again.final == first.final
    assert store.is_finished()


def test_a_run_resumed_where_a_row_is_due_has_a_rate(tiny, trained):
    run = next(tiny().runs())
    trained(run, should_stop=stop_after(8))  # stops in the evaluation after step 6
    events = []
    trained(run, emit=events.append)
    _, alive, evaluating = events[:3]  # after the note on resuming
    assert isinstance(alive, Alive)  # with the time that the next step may take
    assert (alive.step, alive.longest_step > 0) == (6, True)
    assert evaluating == Activity(run, "evaluating at step 6")
    rows = [event for event in events if isinstance(event, RowLogged)]
    assert rows[0].step == rows[0].first_step == 6
    assert all(row.images_per_second > 0 for row in rows)


def test_predictions_of_the_test_images_are_stored_in_their_order(tiny, trained, digits, monkeypatch):
    passes = []
    monkeypatch.setattr(
        trainer, "evaluate", lambda *given, **how: passes.append(given) or evaluate(*given, **how)
    )
    record, store = trained(next(tiny().runs()))
    assert len(passes) == 2  # only the evaluations after steps 6 and 12
    predictions = store.frame("predictions")
    assert list(map(str, predictions.dtypes)) == ["uint8", "uint8"]
    assert predictions.label.tolist() == digits.test_y.tolist()
    assert 100 * (predictions.label != predictions.predicted).mean() == record.final.test_error
    assert record.classes == tuple("0123456789")


def test_predictions_lost_by_a_stop_are_computed_again(tiny, trained):
    run = next(tiny().runs())
    _, whole = trained(run, folder="whole", mode=KEEPING)
    shutil.copytree(whole.path, whole.path.parents[1] / "parts" / run.run_id)
    before = whole.frame("predictions")
    (whole.path.parents[1] / "parts" / run.run_id / "predictions.parquet").unlink()
    record, parts = trained(run, folder="parts", should_stop=stop_after(0))
    assert (record.status, parts.is_finished()) == ("interrupted", False)  # checked before the only batch
    record, parts = trained(run, folder="parts")
    assert record.status == "done"
    pd.testing.assert_frame_equal(parts.frame("predictions"), before)


def test_train_error_on_a_part_of_the_training_set(tiny, digits):
    run = next(tiny(evaluate={"train_size": 200}).runs())
    x, y = Trainer(run, digits, TrainingMode()).sets["train"]
    assert x.shape == (200, 1, 8, 8)
    assert torch.bincount(y).min() >= 18  # stratified


def test_images_of_another_size_are_trained_on(tiny, trained, digits):
    wide = dataclasses.replace(
        digits, **{part: getattr(digits, part)[:, :, :, :6] for part in ("train_x", "test_x")}
    )
    record, _ = trained(next(tiny().runs()), images=wide)
    assert record.status == "done"


def test_a_streamed_run_has_the_same_results(tiny, trained):
    run = next(tiny().runs())
    _, resident = trained(run, folder="resident")
    events = []
    record, streamed = trained(
        run, folder="streamed", emit=events.append, mode=TrainingMode(is_streamed=True)
    )
    assert "streamed" in record.execution.images
    assert events[0] == Note(record.execution.images, run)
    for name in ("history", "layers"):
        assert resident.frame(name).equals(streamed.frame(name))


def test_a_run_that_recomputes_activations_has_the_same_results(tiny, trained):
    run = next(tiny(grid={"network": ["resnet"]}).runs())
    _, once = trained(run, folder="once")
    record, twice = trained(run, folder="twice", mode=TrainingMode(recompute=True))
    assert record.execution.recompute
    for name in ("history", "layers"):
        assert once.frame(name).equals(twice.frame(name))


@pytest.mark.cuda
def test_a_cuda_run_resumes_and_matches_its_twin(tiny, digits, tmp_path):
    mode = TrainingMode(device="cuda")
    hashes = []
    for run in tiny().runs():
        whole, parts = (RunStore(tmp_path / name / run.run_id) for name in ("whole", "parts"))
        finish(train(run, digits, whole, mode, data_hash=""))
        finish(train(run, digits, parts, mode, data_hash="", should_stop=stop_after(5)))
        record = finish(train(run, digits, parts, mode, data_hash=""))
        assert record.status == "done"
        # The images and their order are equal. Sums on a GPU may round differently from run to run.
        one, other = whole.frame("history"), parts.frame("history")
        assert one.batch_hash.tolist() == other.batch_hash.tolist()
        assert other.loss.tolist() == pytest.approx(one.loss.tolist(), rel=1e-3)
        hashes.append(record.hashes)
    assert hashes[0] == hashes[1]


def kept(text):
    return TrainingMode(keep_weights=KeepWeights.parse(text))


def weights_of(store, name=WEIGHTS):
    return read_weights(store.path / name, store.read().weights[name].sha256)


def test_a_finished_run_keeps_its_last_weights_and_what_images_are_scaled_by(tiny, trained, digits):
    run = next(tiny().runs())
    record, store = trained(run)
    weights = weights_of(store)
    assert record.weights[WEIGHTS].step == 12
    assert weights.facts["run_id"] == run.run_id
    assert weights.facts["classes"] == list("0123456789")
    network = NETWORKS["plain"](depth=8, in_channels=1, num_classes=10, width=run.options.width)
    network.load_state_dict(weights.network)
    pixels = torch.from_numpy(digits.test_x)
    images = (pixels - weights.inputs["mean"]) * weights.inputs["scale"]
    with torch.no_grad():
        wrong = network.eval()(images).argmax(1) != torch.from_numpy(digits.test_y)
    assert 100 * wrong.double().mean().item() == pytest.approx(record.final.test_error, abs=1e-9)


def test_the_best_weights_are_those_of_the_best_evaluation(tiny, trained):
    study = tiny(evaluate={"every": 2}, recipe={"lr": 0.3})
    record, store = trained(next(study.runs()), mode=kept("best"))
    assert record.final.best_step < 12  # otherwise they would be the last ones
    assert record.weights[WEIGHTS].step == record.final.best_step
    every, other = trained(next(study.runs()), folder="every", mode=kept("every:2"))
    assert every.final == record.final
    best = weights_of(other, file_at(record.final.best_step))
    for name, tensor in weights_of(store).network.items():
        assert torch.equal(tensor, best.network[name])


def test_weights_after_every_n_updates_are_kept_across_an_interruption(tiny, trained):
    run = next(tiny().runs())
    mode = kept("every:3")
    whole, at_once = trained(run, mode=mode)
    assert {name: file.step for name, file in whole.weights.items()} == {
        **{file_at(step): step for step in (3, 6, 9, 12)},
        WEIGHTS: 12,
    }
    interrupted, _ = trained(run, folder="parts", mode=mode, should_stop=stop_after(8))
    assert interrupted.status == "interrupted"
    record, resumed = trained(run, folder="parts", mode=mode)
    assert record.weights == whole.weights
    for name in whole.weights:
        assert (resumed.path / name).read_bytes() == (at_once.path / name).read_bytes()


@pytest.mark.parametrize("keep", ["none", "last"])
def test_no_weights_are_kept_of_a_run_that_diverged_or_on_request(tiny, trained, keep):
    study = tiny(recipe={"lr": 1e20} if keep == "last" else {})
    record, store = trained(next(study.runs()), mode=kept(keep))
    assert record.status == ("diverged" if keep == "last" else "done")
    assert not record.weights
    assert not list(store.path.glob("*.safetensors"))
    assert not store.lacks_weights(KeepWeights.parse(keep))
