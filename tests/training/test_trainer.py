import copy
import math

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from depthbench.networks import NETWORKS
from depthbench.networks.family import Family
from depthbench.probes import DEFAULT
from depthbench.probes.reasons import FROZEN, FUNCTIONAL, UNUSED
from depthbench.probes.recorder import Recorder
from depthbench.training.mode import TrainingMode
from depthbench.training.team import Team
from depthbench.training.trainer import NO_LAYER, Trainer

CPU = TrainingMode()


def train_to_the_end(run, images, fetch_seconds):
    """Return the trainer of `run` at the end, and the number of fetches that returned rows."""
    trainer = Trainer(run, images, CPU)
    trainer.fetch_seconds = fetch_seconds
    fetches = 0
    while not trainer.records.rows or trainer.records.rows[-1]["step"] < run.steps:
        if trainer.row_is_due:
            fetches += bool(trainer.log())
            if trainer.records.rows and not math.isfinite(trainer.records.rows[-1]["loss"]):
                break
        else:
            trainer.advance()
    return trainer, fetches


@pytest.mark.parametrize("warmup", ["none", "hold"])
def test_rows_fetched_late_equal_rows_fetched_at_once(tiny, digits, warmup):
    recipe = {"steps": 220, "warmup": warmup, "hold_from_depth": 8, "hold_until_train_error": 100.0}
    run = next(tiny(recipe=recipe, evaluate={"every": 110, "log_every": 10}).runs())
    at_once, many = train_to_the_end(run, digits, fetch_seconds=0.0)
    late, few = train_to_the_end(run, digits, fetch_seconds=math.inf)
    assert many == len(at_once.records.rows) >= 22
    assert few == {"none": 2, "hold": 3}[warmup]  # two evaluations, and the end of the warm-up's window
    assert repr(late.records.rows) == repr(at_once.records.rows)  # repr: NaN equals NaN
    assert late.learning_rate.state() == at_once.learning_rate.state()


def test_a_divergence_that_is_fetched_late_ends_the_run_at_its_step(tiny, digits):
    recipe = {"steps": 40, "lr": 1e20, "schedule": "constant"}
    run = next(tiny(recipe=recipe, evaluate={"every": 40, "log_every": 4}, probe={"every": 1}).runs())
    at_once, _ = train_to_the_end(run, digits, fetch_seconds=0.0)
    late, _ = train_to_the_end(run, digits, fetch_seconds=math.inf)
    assert at_once.step < 40
    assert (late.step, late.lr, late.batches_hash) == (at_once.step, at_once.lr, at_once.batches_hash)
    assert repr(late.records.rows) == repr(at_once.records.rows)
    assert late.records.layers().equals(at_once.records.layers())


def test_the_momentum_of_batch_normalisation_changes_the_evaluation_and_not_the_training(tiny, digits):
    trainers = []
    for recipe in ({}, {"norm_momentum": 0.1}, {"norm_momentum": 1.0}):
        study = tiny(recipe={"steps": 4} | recipe, evaluate={"every": 4})
        trainers.append(train_to_the_end(next(study.runs()), digits, 0.0)[0])
    default, same, other = (trainer.network.state_dict() for trainer in trainers)
    for name, values in default.items():
        assert torch.equal(values, same[name])
        assert torch.equal(values, other[name]) == ("running" not in name), name


def test_the_execution_of_steps_is_recorded(tiny, digits):
    trainer = Trainer(next(tiny().runs()), digits, CPU)
    assert trainer.execution == {
        "step": "eager",
        "recompute": False,
        "images": "1,797 images (115 kB) on cpu",
    }
    assert trainer.step_note is None


@pytest.mark.cuda
def test_a_checkpoint_has_the_weights_of_its_step(tiny, digits):
    """No row is fetched, so the device is far behind the host when the state is saved."""
    run = next(tiny(recipe={"steps": 4000}, evaluate={"every": 4000, "log_every": 4000}).runs())
    trainer = Trainer(run, digits, TrainingMode("cuda"))
    for _ in range(500):
        trainer.advance()
    state = {key: value.cpu() for key, value in trainer.state()["network"].items()}
    torch.cuda.synchronize()
    for key, value in trainer.network.state_dict().items():
        assert torch.equal(value.cpu(), state[key]), key


def test_a_state_of_another_device_keeps_this_ones_settings(tiny, digits):
    run = next(tiny(recipe={"optimizer": "adam", "lr": 0.01}).runs())
    trainer = Trainer(run, digits, CPU)
    trainer.advance()
    state = trainer.state()
    for group in state["optimizer"]["param_groups"]:
        group |= {"capturable": True, "lr": torch.tensor(0.5)}
    again = Trainer(run, digits, CPU)
    again.restore(state)
    for group in again.eager_step.optimizer.param_groups:
        assert group["capturable"] is False
        assert group["lr"] == 0.01
    assert again.eager_step.optimizer.state_dict()["state"]
    again.advance()


def test_another_rank_resumes_with_the_masks_of_an_uninterrupted_run(tiny, digits):
    class Second(Team):
        rank, size = 1, 2

    run = next(tiny(options={"dropout": 0.5}).runs())
    whole, resumed = (Trainer(run, digits, CPU, team=Second()) for _ in range(2))
    whole.advance()
    resumed.restore(copy.deepcopy(whole.state()))
    for trainer in (whole, resumed):
        trainer.advance()
    for one, other in zip(whole.network.parameters(), resumed.network.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("recompute", [False, True])
def test_probes_over_pairs_of_steps_resume_bit_for_bit(tiny, digits, recompute):
    probe = {"names": ["update_ratio", "grad_cosine"], "steps": [0, 2, 3, 6], "every": None}
    run = next(tiny(recipe={"steps": 8, "clip_norm": 0.1}, probe=probe).runs())
    mode = TrainingMode(recompute=recompute)
    trainer = whole = Trainer(run, digits, mode)
    for step in range(8):
        kept = set(trainer.state()["probes"])
        assert bool(kept) == (step in (2, 3, 6))
        resumed = Trainer(run, digits, mode)
        resumed.restore(copy.deepcopy(trainer.state()))
        trainer.advance()
        resumed.advance()
        assert resumed.records.layers().equals(trainer.records.layers())
        trainer = resumed
    table = whole.records.layers()
    for _ in range(7):
        whole.advance()
    table = whole.records.layers()
    assert table.equals(trainer.records.layers())
    assert table["update_ratio"].gt(0).all()
    assert table[table["step"] == 0]["not_measured"].eq("grad_cosine").all()
    assert table[table["step"] > 0]["grad_cosine"].between(-1, 1).all()
    assert trainer.unmeasured == {}


def test_a_step_that_is_not_probed_uses_no_probe(tiny, digits, monkeypatch):
    probe = {"names": ["weight_norm", "update_ratio", "grad_cosine"], "steps": [3]}
    trainer = Trainer(next(tiny(probe=probe).runs()), digits, CPU)
    calls = []
    for name in ("__enter__", "preparing", "values", "keep_gradients", "with_updates"):
        method = getattr(Recorder, name)

        def called(self, *arguments, name=name, method=method):
            calls.append((trainer.step, name))
            return method(self, *arguments)

        monkeypatch.setattr(Recorder, name, called)
    for _ in range(6):
        trainer.advance()
    assert calls == [
        (2, "preparing"),
        (2, "keep_gradients"),
        (3, "__enter__"),
        (3, "values"),
        (3, "with_updates"),
    ]


class Mixed(nn.Module):
    """Layers of many kinds. `late` is frozen from the second step on."""

    def __init__(self, depth, in_channels, num_classes, width):
        super().__init__()
        self.words, self.memory = nn.Embedding(17, 8), nn.LSTM(8, 8, batch_first=True)
        self.gates, self.attention = (
            nn.GRU(8, 8, batch_first=True),
            nn.MultiheadAttention(8, 2, batch_first=True),
        )
        self.up, self.functional = nn.ConvTranspose1d(8, 8, 1), nn.Linear(8, 8)
        self.unused, self.frozen = nn.Linear(8, 8), nn.Linear(8, 8).requires_grad_(False)
        self.late, self.table = nn.Linear(8, 8), nn.Parameter(torch.randn(8, 8))
        self.head = nn.Linear(8, num_classes)
        self.steps = 0

    def forward(self, x):
        if self.training:
            self.late.requires_grad_(self.steps == 0)
            self.steps += 1
        x = self.words((x.flatten(1)[:, :9] * 16).long().clamp(0, 16))
        x = self.gates(self.memory(x)[0])[0]
        x = x + self.attention(x, x, x)[0]
        x = self.up(x.transpose(1, 2)).mean(2)
        x = F.linear(x, self.functional.weight) @ self.table
        return self.head(self.late(self.frozen(x)))


def test_all_is_measured_or_named_once_with_the_reason(tiny, digits, monkeypatch):
    monkeypatch.setitem(NETWORKS, "mixed", Family(Mixed, "many kinds of layers"))
    study = tiny(grid={"network": ["mixed"], "depth": [6], "seed": [0]}, probe={"every": 1})
    trainer = Trainer(next(study.runs()), digits, CPU)
    trainer.advance()
    first = {
        "words (Embedding)": NO_LAYER,
        "memory (LSTM)": NO_LAYER,
        "gates (GRU)": NO_LAYER,
        "table": NO_LAYER,
        "functional": FUNCTIONAL,
        "unused": UNUSED,
        "frozen": FROZEN,
    }
    assert trainer.unmeasured == first
    trainer.advance()
    assert trainer.unmeasured == first | {"late": FROZEN}
    table = trainer.records.layers().set_index(["step", "name"])
    measured = [
        "attention.q_proj",
        "attention.k_proj",
        "attention.v_proj",
        "attention.out_proj",
        "up",
        "head",
    ]
    columns = list(DEFAULT)
    assert table.loc[[(step, name) for step in (0, 1) for name in measured], columns].gt(0).all(axis=None)
    late = table.loc[(1, "late")]
    assert late["not_measured"] == "grad_norm_weight"
    assert late["grad_norm_preact"] > 0


class HeadFirst(nn.Module):
    """Registers its layers from the output to the input."""

    def __init__(self, depth, in_channels, num_classes, width):
        super().__init__()
        self.head = nn.Linear(width, num_classes)
        self.second, self.first = nn.Linear(width, width), nn.Linear(64, width)

    def forward(self, x):
        return self.head(self.second(self.first(x.flatten(1))))


class Auxiliary(HeadFirst):
    """Calls an auxiliary head after the head that gives the logits."""

    def __init__(self, depth, in_channels, num_classes, width):
        super().__init__(depth, in_channels, num_classes, width)
        self.auxiliary = nn.Linear(num_classes, 2)

    def forward(self, x):
        logits = super().forward(x)
        return logits, self.auxiliary(logits)


def test_a_resumed_run_keeps_its_classifier_after_its_last_probed_step(tiny, digits, monkeypatch):
    monkeypatch.setitem(NETWORKS, "auxiliary", Family(Auxiliary))
    study = tiny(grid={"network": ["auxiliary"], "depth": [4]}, probe={"steps": [0]})
    trainer, again = (Trainer(next(study.runs()), digits, CPU) for _ in range(2))
    trainer.advance()
    again.restore(copy.deepcopy(trainer.state()))
    for layers in (trainer.records.layers(), again.records.layers()):
        assert layers["name"].tolist() == ["first", "second", "head", "auxiliary"]
        assert layers["stage"].tolist() == ["1", "1", "fc", "1"]


@pytest.mark.parametrize("is_older", [False, True])
def test_layers_are_numbered_in_the_order_of_their_use(tiny, digits, monkeypatch, is_older):
    """The head is not early on the layer axis, and every row of a resumed run has the same numbering."""
    monkeypatch.setitem(NETWORKS, "backwards", Family(HeadFirst))
    study = tiny(grid={"network": ["backwards"], "depth": [3]}, probe={"steps": [0, 1, 3]})
    trainer, again = (Trainer(next(study.runs()), digits, CPU) for _ in range(2))
    expected = ["first", "second", "head"]
    trainer.advance()
    trainer.advance()
    assert trainer.records.layers()["name"].tolist() == expected * 2
    state = copy.deepcopy(trainer.state())
    if is_older:
        del state["layer_order"]
    again.restore(state)
    names = expected if not is_older else expected[::-1]
    assert again.records.layers()["name"].tolist() == names * 2
    for _ in range(2):
        trainer.advance()
        again.advance()
    layers = again.records.layers()
    pd.testing.assert_frame_equal(layers, trainer.records.layers())
    assert layers["name"].tolist() == expected * 3
    assert layers["layer"].tolist() == [1, 2, 3] * 3
    assert layers["stage"].tolist() == ["1", "1", "fc"] * 3
