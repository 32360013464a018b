"""The state of one run while it trains, and the moves that change it."""

import contextlib
import hashlib
import math
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch

from depthbench.data.batches import Batches, Scaling
from depthbench.data.colour import Colour
from depthbench.data.files import sides
from depthbench.data.images import Images, split
from depthbench.data.pixels import Pixels
from depthbench.data.placement import PlacedImages, place_images
from depthbench.data.statistics import sample_for_statistics
from depthbench.machine.precision import set_precision
from depthbench.networks import NETWORKS
from depthbench.networks.checkpointing import recompute_activations
from depthbench.networks.cost import count_multiply_adds
from depthbench.networks.fusing import fuse
from depthbench.probes import PROBES
from depthbench.probes.recorder import Recorder
from depthbench.registry import look_up
from depthbench.seeds import derived
from depthbench.study.model import Run
from depthbench.training.captured import CapturedStep
from depthbench.training.evaluate import percent_wrong, predict
from depthbench.training.final_evaluations import FINAL_EVALUATIONS
from depthbench.training.final_evaluations.evaluation import FinalEvaluation, Outcome, TrainedNetwork
from depthbench.training.hold import Hold
from depthbench.training.mode import TrainingMode
from depthbench.training.peak_memory import PeakMemory
from depthbench.training.plateau import Plateau
from depthbench.training.recipe import learning_rate, make_optimizer
from depthbench.training.records import ERRORS, Records
from depthbench.training.step import Step

if TYPE_CHECKING:
    import pandas as pd

FETCH_SECONDS = 2.0  # at most between two fetches of a row from a GPU, so that a person sees how it goes


class Trainer:
    """Everything that one run owns while it trains.

    Raises BadInput if a step cannot be compiled or activations cannot be recomputed."""

    def __init__(self, run: Run, images: Images, mode: TrainingMode):
        device = torch.device(mode.device)
        self.peak_memory = PeakMemory(device)  # before anything of this run is there
        self.run, self.mode, self.device = run, mode, device
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        set_precision(run.recipe.precision)
        self.train_size, self.classes, self.white = len(images.train_y), len(images.classes), images.white
        placed = place_images(images, device, mode.is_streamed)
        self.placement, self.is_streamed = placed.note, placed.is_streamed
        if self.stream is not None:
            torch.cuda.synchronize(device)  # the images are there before our stream reads them
        with self._on_stream():
            self.network = self._make_network(images)
            if mode.step_mode == "compiled":
                fuse(self.network)
            seen = sample_for_statistics(images.train_x, run.data.split_seed)
            self.scaling = Scaling(seen, run.data.normalisation, device)
            self.batches = self._make_batches(placed, Colour(seen, device) if run.recipe.colour else None)
            self.sets = {**placed.sets, "train": placed.train_set(self._evaluated_part(images))}
            probes = {name: look_up(PROBES, "probe", name).load() for name in run.probe.names}
            at_once = device.type == "cuda" and not mode.recompute
            self.recorder = Recorder(self.network, probes, at_once=at_once)
            optimizer = make_optimizer(self.network, run.recipe)
            self.eager_step = Step(
                self.network, optimizer, run.recipe, self.recorder, self.batches.images, device
            )
        self.step_mode, self.make_step = mode.step_mode, self.eager_step
        if mode.step_mode == "auto":
            self.step_mode = "captured" if device.type == "cuda" else "eager"
        if self.step_mode != "eager":
            self.make_step = CapturedStep(self.eager_step, self.stream)

        self.step = 0  # updates made
        self.lr = 0.0  # of the last one
        self.seconds = 0.0  # in all
        self.evaluating = 0.0  # seconds of these spent on evaluation
        self.records = Records(self.recorder.layers, run.probe.names)
        self.hold = Hold(run)
        self.plateau = Plateau(run.recipe)
        self._outcomes: dict[str, Outcome] = {}  # of the final evaluations
        self.predicted: torch.Tensor | None = None  # (N,) the class of each test image, as last evaluated
        self.batches_hash = ""  # sha256 over all batches up to this step
        self._waiting_hashes: dict[int, str] = {}  # step -> that of each row that waits
        self.fetch_seconds = FETCH_SECONDS if device.type == "cuda" else 0.0  # a CPU keeps nobody waiting

    def _make_network(self, images: Images) -> torch.nn.Module:
        torch.manual_seed(self.run.seed)
        family = look_up(NETWORKS, "network", self.run.family)
        network = build_network(family, self.run, images)
        network = network.to(self.device, memory_format=torch.channels_last)
        self.initial_weights = hash_weights(network)
        torch.manual_seed(derived(self.run.seed, "dropout"))
        if self.mode.recompute:
            recompute_activations(network, (self.run.recipe.batch_size, *images.shape))
        return network

    def _make_batches(self, placed: PlacedImages, colour: Colour | None) -> Batches:
        recipe, source = self.run.recipe, placed.train_source()
        is_scaled = recipe.augmentation == "scale"
        return Batches(
            source,
            self.scaling,
            batch_size=recipe.batch_size,
            seed=self.run.seed,
            pad=recipe.pad,
            flip=bool(recipe.flip),
            sides=sides(recipe.scale, source.x.shape[-1]) if is_scaled else None,
            colour=colour,
        )

    def _evaluated_part(self, images: Images):
        """Indices of the training images to evaluate on; None for all."""
        size = self.run.evaluate.train_size
        if size is None or size >= len(images.train_y):
            return None
        return split(images.train_y, size, self.run.data.split_seed)[1]

    def count_multiply_adds(self, image_shape: tuple[int, int, int]) -> int:
        """Of one image, in the forward pass."""
        with self._on_stream():  # the image is not to pass through weights that are being written
            return count_multiply_adds(self.network, image_shape)

    def _on_stream(self):
        """A context in which work goes to this run's own stream of a GPU, where several take turns."""
        return contextlib.nullcontext() if self.stream is None else torch.cuda.stream(self.stream)

    def close(self) -> None:
        """Let go of the processes that read images ahead, where there are any, and measure no more memory."""
        self.batches.close()
        self.peak_memory.close()

    @property
    def execution(self) -> dict[str, Any]:
        """How steps are made, for run.json."""
        step = "eager" if self.step_note is not None else self.step_mode
        return {"step": step, "recompute": self.mode.recompute, "images": self.placement}

    @property
    def step_note(self) -> str | None:
        """Why steps are not made as was asked for, if so."""
        return self.make_step.note if isinstance(self.make_step, CapturedStep) else None

    def advance(self) -> None:
        """Make one update, probed where the study says so."""
        self.lr = learning_rate(self.run.recipe, self.step, self.hold.holds_at(self.step), self.plateau.drops)
        with self._on_stream():
            batch = self.batches.take()
            values = self.make_step(batch, self.lr, probed=self.run.is_probed(self.step))
        if values is not None:
            self.records.add_probed(self.step, values)
        self.step += 1
        self.batches_hash = self.batches.hash

    @property
    def row_is_due(self) -> bool:
        """Whether this step is to be logged, and is not yet."""
        if self.step == self.records.last_step:
            return False
        logged = self.step % self.run.evaluate.log_every == 0
        return logged or self.evaluation_is_due or self.hold.decides_at(self.step)

    @property
    def rate(self) -> float:
        """Images a second over the whole run, evaluation left out; 0 before the first step."""
        training = self.seconds - self.evaluating
        return self.step * self.run.recipe.batch_size / training if training > 0 else 0.0

    @property
    def evaluation_is_due(self) -> bool:
        """Whether the network is evaluated after this step."""
        return self.step == self.run.steps or self.step % self.run.evaluate.every == 0

    def log(self, should_stop: Callable[[], bool] = lambda: False) -> list[dict[str, Any]] | None:
        """Note the history row of this step, evaluated where that is due; the rows that are now known.

        Rows wait on the device for an evaluation, a decision of the warm-up rule, or `fetch_seconds`. None,
        and nothing changed, where `should_stop` said so during the evaluation."""
        errors = dict.fromkeys(ERRORS.values(), math.nan)
        if self.evaluation_is_due:
            found = self._evaluate(should_stop)
            if found is None:
                return None
            errors |= found
        row = {
            "step": self.step,
            "epoch": self.step * self.run.recipe.batch_size / self.train_size,
            "lr": self.lr,
            "loss": math.nan,
            "train_error": math.nan,
            **errors,
            "batch_hash": self.batches_hash[:12],
        }
        self._waiting_hashes[self.step] = self.batches_hash
        must_know = self.evaluation_is_due or self.hold.decides_at(self.step)
        with self._on_stream():
            self.records.add(row, self.eager_step.take_sums())
        return self.fetch() if must_know or self.records.waited >= self.fetch_seconds else []

    def _settle(self) -> None:
        """Wait until the device has made every step so far."""
        if self.stream is not None:
            self.stream.synchronize()

    def _evaluate(self, should_stop: Callable[[], bool]) -> dict[str, float] | None:
        self._settle()  # or the time of steps that are still queued would count as evaluation
        began = time.perf_counter()
        with self._on_stream():
            predicted = self._predict(self.sets, should_stop)
            found = predicted and {
                ERRORS[name]: percent_wrong(predicted[name], y) for name, (_, y) in self.sets.items()
            }
        self.evaluating += time.perf_counter() - began
        if found is not None:
            self.predicted = predicted["test"]
        return found

    def _predict(self, sets: Mapping[str, tuple[Pixels, torch.Tensor]], should_stop: Callable[[], bool]):
        return predict(self.network, sets, self.scaling, self.run.recipe.precision, should_stop)

    def evaluate_finally(
        self,
        should_stop: Callable[[], bool] = lambda: False,
        notify: Callable[[str], None] = lambda message: None,
    ) -> bool:
        """Make the final evaluations of the trained network. Return False if `should_stop` interrupted them.

        `notify` receives a description of each part."""
        self._settle()
        began = time.perf_counter()
        with self._on_stream():
            is_complete = self._evaluate_finally(should_stop, notify)
        self.evaluating += time.perf_counter() - began
        return is_complete

    def _evaluate_finally(self, should_stop: Callable[[], bool], notify: Callable[[str], None]) -> bool:
        x, y = self.sets["test"]
        if self.predicted is None:  # a checkpoint does not hold the predictions of the last evaluation
            predicted = self._predict({"test": (x, y)}, should_stop)
            if predicted is None:
                return False
            self.predicted = predicted["test"]
        trained = TrainedNetwork(
            run=self.run,
            network=self.network,
            x=x,
            y=y,
            predicted=self.predicted,
            classes=self.classes,
            white=self.white,
            scaling=self.scaling,
        )
        for name, evaluation in self._final_evaluations().items():
            outcome = evaluation.evaluate(trained, should_stop, notify)
            if outcome is None:
                return False
            self._outcomes[name] = outcome
        return True

    def _final_evaluations(self) -> dict[str, FinalEvaluation]:
        loaded = {name: entry.load() for name, entry in FINAL_EVALUATIONS.items()}
        return {name: evaluation for name, evaluation in loaded.items() if evaluation.applies(self.run)}

    def _final_outcomes(self, chance_error: float | None) -> dict[str, Outcome]:
        """The outcome of each final evaluation. Those of a diverged run are at chance."""
        if chance_error is None:
            return self._outcomes
        evaluations = self._final_evaluations().items()
        return {name: evaluation.at_chance(self.run, self.classes) for name, evaluation in evaluations}

    def final_tables(self, chance_error: float | None) -> dict[str, "pd.DataFrame"]:
        """The tables of the final evaluations, by name. `chance_error` is given for a diverged run."""
        outcomes = self._final_outcomes(chance_error)
        return {name: outcome.table for name, outcome in outcomes.items() if outcome.table is not None}

    def final(self, chance_error: float | None) -> dict[str, Any]:
        """The final numbers of run.json. `chance_error` is given for a diverged run, whose errors it is."""
        numbers = self.records.tracker.final(self.records.rows, chance_error)
        for outcome in self._final_outcomes(chance_error).values():
            numbers |= outcome.numbers
        return numbers

    def fetch(self) -> list[dict[str, Any]]:
        """The rows that waited, now known. Where the run has diverged on the way, it is set back to where
        that was seen."""
        before = self.records.rows[-1]["step"] if self.records.rows else 0
        with self._on_stream():
            rows = self.records.fetch()
        for row in rows:
            self.hold.see(row["step"], row["step"] - before, row["train_error"])
            self.plateau.see(row)
            before = row["step"]
        if rows and before < self.step and not math.isfinite(rows[-1]["loss"]):
            self.step, self.lr = before, rows[-1]["lr"]
            self.batches_hash = self._waiting_hashes[before]
        self._waiting_hashes.clear()
        return rows

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds; `restore` takes it back. Plain values and tensors only."""
        self.fetch()
        self._settle()  # what follows is read on another stream
        state = {
            "run_id": self.run.run_id,
            "step": self.step,
            "lr": self.lr,
            "seconds": self.seconds,
            "evaluating": self.evaluating,
            "peak_memory": self.peak_memory.state(),
            "threads": torch.get_num_threads(),
            "network": self.network.state_dict(),
            "optimizer": self.eager_step.optimizer.state_dict(),
            "sums": self.eager_step.sums.cpu(),
            "batches": self.batches.state(),
            "batches_hash": self.batches_hash,
            "rng": torch.get_rng_state(),
            "records": self.records.state(),
            "hold": self.hold.state(),
            "plateau": self.plateau.state(),
        }
        if self.device.type == "cuda":
            state["cuda_rng"] = torch.cuda.get_rng_state(self.device)
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to `state`, bit for bit: on a CPU also with the threads it was made with."""
        self.step, self.lr = state["step"], state["lr"]
        self.seconds, self.evaluating = state["seconds"], state["evaluating"]
        self.peak_memory.restore(state.get("peak_memory"))  # an earlier version kept none
        if self.device.type == "cpu":
            torch.set_num_threads(state["threads"])  # a sum over other threads rounds differently
        with self._on_stream():
            self.network.load_state_dict(state["network"])
            self._restore_optimizer(state["optimizer"])
            self.eager_step.sums.copy_(state["sums"])
            self.records.restore(state["records"], self.device)
        self.batches.restore(state["batches"])
        self.batches_hash = state["batches_hash"]
        self.hold.restore(state["hold"])
        if "plateau" in state:  # an earlier version knew of none
            self.plateau.restore(state["plateau"])
        torch.set_rng_state(state["rng"])
        if self.device.type == "cuda" and "cuda_rng" in state:
            torch.cuda.set_rng_state(state["cuda_rng"], self.device)

    def _restore_optimizer(self, state: dict[str, Any]) -> None:
        """Its state; but its settings stay those for this device, and the rate the number in its memory that
        a captured step reads."""
        optimizer = self.eager_step.optimizer
        ours = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
        optimizer.load_state_dict(state)
        for group, settings in zip(optimizer.param_groups, ours, strict=True):
            group.update(settings)


def build_network(family, run: Run, images: Images) -> torch.nn.Module:
    """The network of a run. A plug-in's builder is given only the options that were changed, so that it
    need not know ours."""
    chosen = run.options.model_dump(exclude_defaults=True)
    channels = family.in_channels(images.shape)
    return family(depth=run.depth, in_channels=channels, num_classes=len(images.classes), **chosen)


def hash_weights(network: torch.nn.Module) -> str:
    """sha256 over every parameter: its name, shape and bytes."""
    digest = hashlib.sha256()
    for name, parameter in network.named_parameters():
        digest.update(f"{name}{tuple(parameter.shape)}".encode())
        digest.update(parameter.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
