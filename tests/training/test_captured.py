"""Which steps are captured, tested with a fake graph, and on a GPU the comparison with eager steps."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from depthbench.data.batches import Batch
from depthbench.data.load import load_images
from depthbench.probes import PROBES
from depthbench.probes.recorder import Recorder
from depthbench.training import captured as captured_module
from depthbench.training.captured import WARM_UP_STEPS, CapturedGraph, CapturedStep
from depthbench.training.mode import TrainingMode
from depthbench.training.trainer import Trainer
from tests.data.photographs import write_photographs


class FakeStep:
    """A step that logs its calls."""

    device = torch.device("cpu")

    def __init__(self):
        self.log = []
        self.rate = None
        self.recorder = Recorder(nn.Linear(1, 1), {})

    def set_rate(self, lr):
        self.rate = lr

    def update(self, batch, probed, keeps=False):
        self.log.append(("probed" if probed else "plain", batch.numbers.tolist(), self.rate))
        return torch.tensor(float(len(self.log))) if probed else None

    def __call__(self, batch, lr, probed, keeps=False):
        self.set_rate(lr)
        return self.update(batch, probed, keeps)


class FakeGraph:
    """A graph that repeats `step` on the captured batch and overwrites the captured values, as on CUDA."""

    def __init__(self, step, batch, probed):
        self.step, self.batch, self.probed = step, batch, probed
        self.values = torch.tensor(0.0) if probed else None

    def replay(self):
        values = self.step.update(self.batch, self.probed)
        if self.probed:
            self.values.copy_(values)


class ByHand(CapturedStep):
    """A CapturedStep that works without a GPU."""

    def __init__(self, step, fails_with=None):
        super().__init__(step, stream=None)
        self.captured, self.fails_with, self.was_reset = [], fails_with, 0

    def reset(self):
        """Fail like a graph whose capture failed."""
        self.was_reset += 1
        raise RuntimeError("out of memory")

    def _capture(self, batch, kind):
        if self.fails_with is not None:
            captured_module._FAILED.append(self)
            raise RuntimeError(self.fails_with)
        other = next(iter(self._graphs.values()), None)
        read = other.batch if other else Batch._make(None if part is None else part.clone() for part in batch)
        self.captured.append(kind.probed)
        graph = FakeGraph(self.step, read, kind.probed)
        self._graphs[kind] = CapturedGraph(graph, read, graph.values)


def batch(number):
    return Batch(torch.tensor([number]), None)


def test_every_step_is_made_once_with_its_own_batch_and_rate():
    step = FakeStep()
    captured = ByHand(step)
    probed = {0, 1, 2, 5, 7}
    for number in range(9):
        captured(batch(number), number / 10, probed=number in probed)
    assert step.log == [
        ("probed" if number in probed else "plain", [number], number / 10) for number in range(9)
    ]
    assert captured.captured == [False, True]  # plain at step 4, when step 3 was eager; probed at step 5


def test_a_kind_of_step_is_eager_before_it_is_captured():
    step = FakeStep()
    captured = ByHand(step)
    for number in range(WARM_UP_STEPS + 2):
        captured(batch(number), 0.1, probed=False)
    assert captured.captured == [False]
    captured(batch(9), 0.1, probed=True)
    assert captured.captured == [False]  # the first probed step sets up what probes need
    captured(batch(10), 0.1, probed=True)
    assert captured.captured == [False, True]


def test_steps_that_keep_gradients_are_kinds_of_their_own_and_are_noted_after_a_replay():
    step = FakeStep()
    captured = ByHand(step)
    network = nn.Linear(2, 1)
    recorder = step.recorder = Recorder(network, {"grad_cosine": PROBES["grad_cosine"].load()})
    with recorder.preparing():
        network(torch.ones(1, 2)).sum().backward()
        recorder.keep_gradients()
    for number in range(6):
        captured(batch(number), 0.1, probed=False, keeps=number % 2 == 1)
        is_replayed = number >= WARM_UP_STEPS
        if is_replayed:  # the host sees nothing of what a graph does
            assert set(recorder.state()) == ({""} if number % 2 == 1 else set())
    assert set(captured._graphs) == {(False, True), (False, False)}


def test_values_survive_the_next_replay():
    captured = ByHand(FakeStep())
    for number in range(WARM_UP_STEPS):
        captured(batch(number), 0.1, probed=True)
    first, second = (captured(batch(number), 0.1, probed=True) for number in (3, 4))
    assert (first.item(), second.item()) == (4.0, 5.0)


def test_a_step_that_cannot_be_captured_stays_eager_with_a_note(monkeypatch):
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(captured_module, "_FAILED", [])
    step = FakeStep()
    captured = ByHand(step, fails_with="operation not permitted when stream is capturing\nmore")
    for number in range(6):
        captured(batch(number), 0.1, probed=False)
    assert [numbers for _, numbers, _ in step.log] == [[n] for n in range(6)]
    assert "eager" in captured.note
    assert captured.note.endswith("operation not permitted when stream is capturing")
    assert captured.was_reset == 1  # this fails too, and the run continues


@pytest.mark.parametrize("where", ["copy", "graph"])
def test_a_run_survives_a_capture_without_enough_memory(monkeypatch, where):
    """Memory runs out while the batch is copied, or in the graph, which is then kept."""
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(captured_module, "_FAILED", [])
    graphs = []

    def run_out(*args, **options):
        graphs.extend(args)
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(torch.cuda, "CUDAGraph", FailedGraph)
    monkeypatch.setattr(torch.cuda, "graph", run_out)
    step = FakeStep()
    captured = CapturedStep(step, stream=None)
    for number in range(6):
        given = batch(number)
        if where == "copy" and number == WARM_UP_STEPS:
            given.numbers.clone = run_out
        captured(given, 0.1, probed=False)
    assert [numbers for _, numbers, _ in step.log] == [[n] for n in range(6)]
    assert captured.note.endswith("out of memory")
    kept = captured_module._FAILED
    assert len(kept) == (where == "graph")
    assert kept == graphs[: len(kept)]
    assert all(graph.was_reset for graph in kept)


class FailedGraph:
    was_reset = False

    def reset(self):
        self.was_reset = True


def train_some(run, images, kind, steps):
    """Return a trainer after `steps` steps on a GPU, and the change of its weights in one row."""
    trainer = Trainer(run, images, TrainingMode("cuda:0", kind))
    before = weights(trainer)
    for _ in range(steps):
        trainer.advance()
        if trainer.row_is_due:
            trainer.log()
    trainer.fetch()
    trainer.close()
    return trainer, weights(trainer) - before


def weights(trainer):
    return torch.cat([p.detach().double().flatten() for p in trainer.network.parameters()])


def assert_captured_equals_eager(run, images, steps):
    """Compare batches, losses and the change of the weights after equally many updates of both kinds.

    Adam divides by the size of a gradient. If the gradient is only rounding, the weight can move either way,
    so single weights are not compared."""
    (eager, way), (captured, other) = (train_some(run, images, kind, steps) for kind in ("eager", "captured"))
    assert (eager.execution["step"], captured.execution["step"]) == ("eager", "captured")
    assert captured.step_note is None
    assert eager.batches_hash == captured.batches_hash
    losses = [[row["loss"] for row in trainer.records.rows] for trainer in (eager, captured)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    assert (other - way).norm() < 0.02 * way.norm()
    return eager, captured


@pytest.mark.cuda
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("network", ["plain", "resnet"])
def test_a_captured_step_equals_the_eager_step(tiny, digits, network, optimizer):
    recipe = {"steps": 50, "optimizer": optimizer, "lr": 0.01, "clip_norm": 1.0, "l1": 1e-6}
    study = tiny(recipe=recipe, grid={"network": [network]}, probe={"every": 7}, evaluate={"every": 25})
    run = next(study.runs())
    both = assert_captured_equals_eager(run, digits, 50)
    layers = [trainer.records.layers() for trainer in both]
    assert layers[0].step.tolist() == layers[1].step.tolist()
    first = [table[table.step == 0].grad_norm_preact.to_numpy() for table in layers]
    assert first[1] == pytest.approx(first[0], rel=1e-4)


@pytest.mark.cuda
def test_probes_over_pairs_of_steps_are_captured(tiny, digits):
    """Each kind of steps is eager before it is captured: probed or not, before a probed step or not."""
    probe = {"names": list(PROBES), "steps": [0, 2, 3, 5, 6, 9, 10, 14, 15, 20, 25, 26, 30]}
    run = next(tiny(recipe={"steps": 32, "lr": 0.01, "clip_norm": 1.0}, probe=probe).runs())
    eager, captured = assert_captured_equals_eager(run, digits, 32)
    first, second = (trainer.records.layers() for trainer in (eager, captured))
    assert first["not_measured"].tolist() == second["not_measured"].tolist()
    for name in ("update_ratio", "grad_cosine"):
        early = first["step"] <= 3  # later, rounding has grown
        assert second[name][early].to_numpy() == pytest.approx(
            first[name][early].to_numpy(), rel=1e-2, nan_ok=True
        )
        assert np.isfinite(second[name][second["step"] > 0]).all()


@pytest.mark.cuda
@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_captured_step_equals_the_eager_step_with_colours(tiny, digits, monkeypatch, is_streamed):
    monkeypatch.setattr("depthbench.data.placement.should_stream", lambda images, device, free: is_streamed)
    recipe = {"steps": 30, "lr": 0.01, "colour": True, "flip": True}
    run = next(tiny(recipe=recipe, grid={"network": ["resnet"]}, evaluate={"every": 30}).runs())
    assert_captured_equals_eager(run, replace(digits), 30)


@pytest.mark.cuda
def test_a_captured_step_equals_the_eager_step_with_decoded_crops(tiny, tmp_path):
    write_photographs(tmp_path, {"train": 8, "val": 2})
    data = {"path": str(tmp_path), "name": "photographs", "decode": "as_read", "image_size": 16}
    recipe = {"steps": 30, "lr": 0.01, "augmentation": "scale", "colour": True, "flip": True}
    study = tiny(data=data, recipe=recipe, grid={"network": ["resnet"]}, evaluate={"every": 30})
    run = next(study.runs())
    assert_captured_equals_eager(run, load_images(run.data, tmp_path), 30)


@pytest.mark.cuda
@pytest.mark.parametrize("options", [{"dropout": 0.3}, {"shortcut_dropout": 0.3}, {"survival": 0.5}])
def test_a_captured_step_draws_the_random_numbers_of_the_eager_step(tiny, digits, options):
    """A graph reads the generator's state at each replay, so that each step drops other activations."""
    study = tiny(recipe={"steps": 30, "lr": 0.01}, grid={"network": ["resnet"]}, options=options)
    assert_captured_equals_eager(next(study.runs()), digits, 30)


@pytest.mark.cuda
def test_a_captured_step_draws_the_paths_of_a_fractal_network(tiny, digits):
    grid = {"network": ["fractalnet"], "depth": [10]}
    study = tiny(recipe={"steps": 30, "lr": 0.01}, grid=grid, options={"width": 4})
    assert_captured_equals_eager(next(study.runs()), digits, 30)


@pytest.mark.cuda
@pytest.mark.parametrize("options", [{}, {"dropout": 0.3}])
def test_a_network_that_reads_its_activations_is_trained_eagerly(tiny, digits, options):
    run = next(tiny(options=options).runs())
    trainer = Trainer(run, digits, TrainingMode("cuda", "captured"))
    forward = trainer.network.forward
    trainer.network.forward = lambda x: forward(x) * (2 if x.sum().item() == 0 else 1)
    for _ in range(5):
        trainer.advance()
    assert trainer.execution["step"] == "eager"
    assert "eager" in trainer.step_note


@pytest.mark.cuda
def test_a_failed_capture_does_not_affect_other_runs_in_the_process(tiny, digits):
    first, second = tiny(recipe={"steps": 12}).runs()
    alone, way = train_some(first, digits, "captured", 12)
    trainer, failing = (Trainer(run, digits, TrainingMode("cuda:0")) for run in (first, second))
    before = weights(trainer)
    forward = failing.network.forward
    failing.network.forward = lambda x: forward(x) * (2 if x.sum().item() == 0 else 1)
    for step in range(12):
        trainer.advance()  # captured before the other run fails
        if step:
            failing.advance()
    trainer.fetch()  # waits for the device
    assert (trainer.execution["step"], failing.execution["step"]) == ("captured", "eager")
    assert trainer.batches_hash == alone.batches_hash
    assert (weights(trainer) - before - way).norm() < 0.02 * way.norm()
