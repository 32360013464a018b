"""Training on sequences, end to end: losses, twins, resuming, and what is stored."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from depthbench.data.batches import Tokens
from depthbench.data.load import load_images
from depthbench.networks.cost import in_evaluation_mode
from depthbench.networks.task import Task
from depthbench.study.file import load_study
from depthbench.training import evaluate
from depthbench.training.mode import TrainingMode
from depthbench.training.trainer import Trainer
from tests.conftest import TINY
from tests.training.test_loop import assert_same_tables, stop_after

WORDS = ["the", "cat", "sat", "on", "a", "mat", "and", "that", "dog", "ran"]


@pytest.fixture
def book(tmp_path):
    """A file of 700 words in random order."""
    rng = np.random.default_rng(0)
    path = tmp_path / "book.txt"
    path.write_text(" ".join(rng.choice(WORDS, 700)))
    return path


@pytest.fixture
def study(book):
    """Return a function that makes a resolved study of transformers with 2 blocks and 12 steps on text, and
    its data."""

    def make(**overrides):
        keys = TINY | {
            "data": {"path": str(book), "length": 16},
            "grid": {"network": ["plain_transformer", "transformer"], "depth": [2], "seed": [0]},
            "options": {"width": 8, "heads": 2},
            "recipe": {
                "steps": 12,
                "batch_size": 8,
                "optimizer": "adamw",
                "lr": 0.01,
                "schedule": "constant",
            },
        }
        for key, value in overrides.items():
            keys[key] = keys.get(key, {}) | value
        study = load_study(None, **keys)
        data = load_images(study.data, book.parent)
        return study.resolve(len(data.train_y), data.flips, len(data.test_y)), data

    return make


def by_name(study):
    return {run.network: run for run in study.runs()}


def test_twins_start_from_equal_weights_and_see_equal_batches(study, trained):
    resolved, data = study()
    plain, residual = (trained(run, data)[0] for run in by_name(resolved).values())
    assert plain.status == residual.status == "done"
    assert plain.hashes == residual.hashes
    assert plain.parameters == residual.parameters
    assert plain.final.test_loss != residual.final.test_loss


def test_each_window_is_seen_once_in_each_pass(study):
    resolved, data = study()
    trainer = Trainer(next(resolved.runs()), data, TrainingMode())
    batches = [trainer.batches.take() for _ in range(len(data.train_x) // 8)]
    indices = torch.cat([batch.numbers[0] for batch in batches]).tolist()
    assert len(set(indices)) == len(indices) > len(data.train_x) - 8
    for batch in batches:
        x, y = trainer.batches.images(batch)
        assert x.dtype == y.dtype == torch.int64
        assert x.tolist() == data.train_x[batch.numbers[0]].tolist()
        assert y.tolist() == data.train_y[batch.numbers[0]].tolist()
    trainer.close()


def test_losses_and_errors_are_those_of_all_tokens(study, trained):
    resolved, data = study(evaluate={"every": 12, "train_size": None})
    run = by_name(resolved)["transformer"]
    record, store = trained(run, data, mode=TrainingMode(keep_checkpoint=True))
    trainer = Trainer(run, data, TrainingMode())
    trainer.restore(torch.load(store.checkpoint, weights_only=True))
    row = store.frame("history").iloc[-1]
    parts = {"train": ("train_error_eval", "train_loss_eval"), "test": ("test_error", "test_loss")}
    with in_evaluation_mode(trainer.network), torch.no_grad():
        for part, (error, loss) in parts.items():
            x, y = (torch.from_numpy(getattr(data, f"{part}_{axis}")).long() for axis in "xy")
            logits = trainer.network(x).flatten(0, 1)
            assert row[loss] == pytest.approx(F.cross_entropy(logits, y.flatten()).item(), rel=1e-6)
            assert row[error] == pytest.approx(
                100 * (logits.argmax(1) != y.flatten()).double().mean().item(), abs=1e-9
            )
            assert getattr(record.final, loss) == row[loss]
    trainer.close()
    assert record.predicts == "next characters"
    assert record.image_shape == (16,)
    assert record.num_classes == len(data.vocabulary)
    assert record.chance_error == data.chance_error
    assert record.execution.images.startswith(f"{sum(map(len, data.inputs)):,} sequences (")
    assert "predictions" not in record.tables


def test_the_logged_loss_is_that_of_the_batch(study, trained):
    resolved, data = study(recipe={"steps": 1}, evaluate={"log_every": 1, "every": 1})
    run = by_name(resolved)["plain_transformer"]
    _, store = trained(run, data)
    trainer = Trainer(run, data, TrainingMode())
    x, y = trainer.batches.images(trainer.batches.take())
    logits = trainer.network(x).flatten(0, 1)
    row = store.frame("history").iloc[0]
    assert row["loss"] == pytest.approx(F.cross_entropy(logits, y.flatten()).item(), rel=1e-6)
    assert row["train_error"] == pytest.approx(100 * (logits.argmax(1) != y.flatten()).double().mean().item())
    trainer.close()


@pytest.mark.parametrize("checks", [0, 5, 9])
def test_a_resumed_run_equals_an_uninterrupted_one(study, trained, checks):
    resolved, data = study(options={"dropout": 0.2}, evaluate={"every": 6, "log_every": 2})
    run = by_name(resolved)["transformer"]
    whole, store = trained(run, data, folder="whole")
    half, parts = trained(run, data, folder="parts", should_stop=stop_after(checks))
    assert half.status == "interrupted"
    torch.rand(7)
    resumed, _ = trained(run, data, folder="parts")
    assert_same_tables(store, parts)
    assert resumed.final == whole.final
    assert resumed.hashes == whole.hashes


def test_a_diverged_run_counts_at_chance_and_has_no_loss(study, trained):
    resolved, data = study(recipe={"optimizer": "sgd", "lr": 1e12, "clip_norm": None})
    record, _ = trained(by_name(resolved)["plain_transformer"], data)
    assert record.status == "diverged"
    assert record.final.test_error == data.chance_error
    assert record.final.test_loss is None


def test_sequences_are_classified_and_predictions_stored(tmp_path, trained):
    keys = TINY | {
        "data": {"name": "hops", "symbols": 4},
        "grid": {"network": ["transformer"], "depth": [1], "seed": [0]},
        "options": {"width": 8, "heads": 2},
        "recipe": {"steps": 2, "batch_size": 8},
        "evaluate": {"every": 2, "train_size": 100, "log_every": 1},
    }
    study = load_study(None, **keys)
    data = load_images(study.data, tmp_path)
    run = next(study.resolve(len(data.train_y), data.flips, len(data.test_y)).runs())
    record, store = trained(run, data)
    assert (record.status, record.predicts, record.chance_error) == ("done", None, 75)
    assert "test_loss" not in store.frame("history")
    predictions = store.frame("predictions")
    assert predictions["label"].tolist() == data.test_y.tolist()
    assert record.final.test_error == pytest.approx(
        100 * (predictions["label"] != predictions["predicted"]).mean()
    )


def test_recipes_have_no_augmentation_of_images(study):
    resolved, _ = study(recipe={"pad": 4})
    assert all((run.recipe.pad, run.recipe.flip) == (0, False) for run in resolved.runs())
    assert (resolved.recipe.pad, resolved.recipe.flip) == (0, False)


def test_the_settings_of_other_studies_do_not_change():
    study = load_study(None, **TINY | {"data": {"name": "digits", "val_size": 9}}).resolve(1437, flips=False)
    run = next(study.runs())
    assert run.model_dump(mode="json", exclude_defaults=True)["data"] == {"val_size": 9}
    new = ("kind", "task", "tokens", "length", "hops", "symbols")
    assert not any(f"\n{key} = " in study.to_toml() for key in new)


def test_fewer_long_sequences_with_many_tokens_are_evaluated_at_once():
    cpu = torch.device("cpu")
    short = Tokens(Task((128,), 97, vocabulary=97, is_next=True)).size((1, 128))
    long = Tokens(Task((1024,), 6400, vocabulary=6400, is_next=True)).size((1, 1024))
    assert evaluate.batch_size(cpu, short) == 256
    assert evaluate.batch_size(cpu, long) == 2
