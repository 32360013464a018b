"""The state of one run while it trains, and the operations that change it."""

import contextlib
import math
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from depthbench.data.labelled import Labelled
from depthbench.data.placement import PlacedImages, place_images
from depthbench.machine.precision import set_precision
from depthbench.networks import NETWORKS
from depthbench.networks.checkpointing import recompute_activations
from depthbench.networks.cost import count_multiply_adds
from depthbench.networks.eager import was_compiled
from depthbench.networks.fractalnet import ColumnChoice
from depthbench.networks.fusing import fuse
from depthbench.networks.layers import outside_of_layers
from depthbench.networks.memory_format import channels_last
from depthbench.probes import DEFAULT, PROBES
from depthbench.probes.reasons import UNREACHED
from depthbench.probes.recorder import Recorder
from depthbench.registry import look_up
from depthbench.seeds import derived
from depthbench.study.model import Run
from depthbench.text import readable
from depthbench.training.batch_norm import set_momentum
from depthbench.training.building import (
    build_network,
    depth_scaling,
    factors_in_branches,
    hash_weights,
    make_batches,
    make_class_weights,
    make_inputs,
    make_optimizer,
    restore_optimizer,
)
from depthbench.training.captured import CapturedStep
from depthbench.training.coordinates import IMAGES, Coordinates
from depthbench.training.depth_rules import BranchFactors
from depthbench.training.evaluate import Evaluated, evaluate, percent_wrong
from depthbench.training.final_evaluations.evaluation import Notify, ShouldStop, TrainedNetwork
from depthbench.training.final_evaluations.runner import FinalEvaluations
from depthbench.training.learning_rate import LearningRate
from depthbench.training.mode import TrainingMode
from depthbench.training.older_states import upgraded
from depthbench.training.peak_memory import PeakMemory
from depthbench.training.records import ERROR_COLUMNS, LOSS_COLUMNS, Records
from depthbench.training.step import Step
from depthbench.training.team import ALONE, Team
from depthbench.training.weights import Weights

if TYPE_CHECKING:
    import pandas as pd

NO_LAYER = "neither convolution nor linear map"
MOST_NAMES = 6  # of a note
FETCH_SECONDS = 2.0  # longest time between two fetches of rows from a GPU, for the progress display


class Trainer:
    """One run while it trains: its network, optimiser, batches and results.

    All processes of `team` must call the same methods in the same order, except for `state`, which sends
    nothing to the others. Raises BadInput if a step cannot be compiled, activations cannot be recomputed or
    batch normalisation cannot be synchronised."""

    def __init__(self, run: Run, images: Labelled, mode: TrainingMode, *, team: Team = ALONE):
        device = torch.device(mode.device)
        self.peak_memory = PeakMemory(device)  # before this run allocates anything
        self.run, self.mode, self.device, self.team = run, mode, device, team
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        set_precision(run.recipe.precision)
        self.train_size, self.classes, self.white = len(images.train_y), len(images.classes), images.white
        self.vocabulary = images.vocabulary
        placed = place_images(images, device, mode.is_streamed)
        self.placement, self.is_streamed = placed.note, placed.is_streamed
        if self.stream is not None:
            torch.cuda.synchronize(device)  # the images are on the device before our stream reads them
        with self._on_stream():
            self.network = self._make_network(images)
            if mode.step_mode == "compiled":
                fuse(self.network)
            self.scaling, colour = make_inputs(run, images, device)
            self.batches = make_batches(run, placed, self.scaling, colour=colour, team=team)
            self.sets = {**placed.sets, "train": placed.train_set(self._evaluated_part(images))}
            probes = {name: look_up(PROBES, "probe", name).load() for name in run.probe.names}
            at_once = device.type == "cuda" and not mode.recompute and team.is_alone
            self.recorder = Recorder(
                self.network,
                probes,
                at_once=at_once,
                each_use=run.probe.each_use or 0,
                gather=team.gather,
                ranks=team.size,
            )
            family = look_up(NETWORKS, "network", run.family)
            self.depth_scaling = depth_scaling(family, run, self.network)
            self.branch_factors = factors_in_branches(self.depth_scaling, run.recipe)
            optimizer = make_optimizer(self.network, run.recipe, self.branch_factors)
            weights = make_class_weights(run.recipe, images.train_y, self.classes)
            self.eager_step = Step(
                team.wrap(self.network, skips_parameters=not family.is_ours),
                optimizer,
                run.recipe,
                recorder=self.recorder,
                images=self.batches.images,
                device=device,
                class_weights=None if weights is None else weights.to(device),
                team=team,
            )
            self.coordinates = self._make_coordinates(placed)
        self.is_uncompiled = was_compiled(self.network)
        self.step_mode = mode.step_mode
        if mode.step_mode == "auto":
            self.step_mode = "captured" if device.type == "cuda" and team.is_alone else "eager"
        self.make_step: Step | CapturedStep = self.eager_step
        if self.step_mode != "eager":
            assert self.stream is not None  # without CUDA, a plan allows eager steps only
            self.make_step = CapturedStep(self.eager_step, self.stream)

        self.log_every, self.evaluate_every = run.log_every, run.evaluate_every
        self.step = 0  # number of updates made
        self.lr = 0.0  # of the last update
        self.seconds = 0.0  # of the whole run, including evaluation
        self.evaluating = 0.0  # seconds of these spent on evaluation
        self.records = Records(self.recorder.rows, run.probe.names)
        self.unmeasured = dict.fromkeys(outside_of_layers(self.network), NO_LAYER)
        """What probes do not measure, and why: layers, and parameters outside of them."""
        self.evaluated_columns = [
            *ERROR_COLUMNS.values(),
            *(LOSS_COLUMNS.values() if images.task.is_next else ()),
        ]
        self.learning_rate = LearningRate(run.recipe, run.depth)
        self.final_evaluations = FinalEvaluations(run, self.classes)
        self.predicted: torch.Tensor | None = None  # (N,) class of each test image in the last evaluation
        self.batches_hash = ""  # sha256 over all batches up to this step
        self._waiting_hashes: dict[int, str] = {}  # step -> batches_hash, for each row that waits
        # On a CPU a fetch costs nothing. All processes of a team must know a row at the same step.
        self.fetch_seconds = FETCH_SECONDS if device.type == "cuda" and team.is_alone else 0.0
        self._before_step: _BeforeStep | None = None

    def _make_network(self, images: Labelled) -> torch.nn.Module:
        family = look_up(NETWORKS, "network", self.run.family)
        network = build_network(family, self.run, images)
        network = channels_last(network).to(self.device)
        self.initial_weights = hash_weights(network)
        if self.run.recipe.norm_momentum is not None:
            set_momentum(network, self.run.recipe.norm_momentum)
        if self.run.recipe.sync_batch_norm:
            network = self.team.synchronise(network)
        for module in network.modules():
            if isinstance(module, ColumnChoice):
                module.agree = self.team.first
        torch.manual_seed(derived(self.run.seed, "dropout"))
        if self.mode.recompute:
            recompute_activations(network, (self.run.recipe.batch_size, *images.shape))
        return network

    def _make_coordinates(self, placed: PlacedImages) -> Coordinates | None:
        """Return the coordinate check on the first training images in a random order, the same for all runs
        of a study; None if the study does not request it."""
        steps = self.run.probe.coordinates
        if steps is None:
            return None
        order = np.random.default_rng(self.run.data.split_seed).permutation(self.train_size)
        x, _ = placed.train_set(np.sort(order[:IMAGES]))
        pixels = next(iter(x.split(IMAGES))).to(self.device)
        return Coordinates(
            self.network,
            self.scaling.arrange(self.scaling(pixels)),
            steps,
            seed=derived(self.run.seed, "coordinates"),
            precision=self.run.recipe.precision,
        )

    def _measure_coordinates(self) -> None:
        if self.coordinates is not None:
            with self._on_stream():
                self.coordinates.measure(self.step)

    def _evaluated_part(self, images: Labelled) -> np.ndarray | None:
        """Return the indices of the training images to evaluate on; None for all."""
        size = self.run.evaluate.train_size
        if size is None or size >= len(images.train_y):
            return None
        return images.draw(size, self.run.data.split_seed)[1]

    def count_multiply_adds(self, shape: tuple[int, ...]) -> int:
        """Return the multiply-adds of the forward pass of one image or sequence."""
        with self._on_stream():  # the pass must not read weights that another stream still writes
            return count_multiply_adds(self.network, shape)

    def _on_stream(self) -> AbstractContextManager:
        """Return a context that sends work to this run's own stream on a GPU, which other runs may share."""
        return contextlib.nullcontext() if self.stream is None else torch.cuda.stream(self.stream)

    def close(self) -> None:
        """End the processes that read images ahead, and stop measuring memory."""
        self.batches.close()
        self.peak_memory.close()

    @property
    def execution(self) -> dict[str, Any]:
        """The execution of the run, for run.json."""
        step = "eager" if self.step_note is not None else self.step_mode
        execution: dict[str, Any] = {"step": step, "recompute": self.mode.recompute, "images": self.placement}
        if not self.team.is_alone:
            execution["processes"] = self.team.size
            execution["sync_batch_norm"] = self.run.recipe.sync_batch_norm
        others = {name: PROBES[name].about for name in self.run.probe.names if name not in DEFAULT}
        if others:
            execution["probes"] = others
        if self.unmeasured:
            execution["not_measured"] = self.unmeasured
        return execution

    @property
    def probe_note(self) -> str | None:
        """What probes do not measure, and why. None if they measure everything."""
        if not self.unmeasured:
            return None
        by_reason: dict[str, list[str]] = {}
        for name, reason in self.unmeasured.items():
            by_reason.setdefault(reason, []).append(readable(name))
        listed = [
            f"no gradient reaches {enumerated(names)}"
            if reason == UNREACHED
            else f"{reason}: {enumerated(names)}"
            for reason, names in by_reason.items()
        ]
        return f"not measured or not in full: {'; '.join(listed)}"

    @property
    def optimizer_notes(self) -> list[str]:
        """What the optimiser leaves to another one, and its settings in scaled residual branches."""
        scaling, factors = self.depth_scaling, self.branch_factors
        note: str | None = getattr(self.eager_step.optimizer, "note", None)
        notes = [] if note is None else [note]
        if scaling is not None:
            settings = "that of the recipe"
            if factors is not None:
                settings = f"x {factors.lr:.4g}, weight decay x {factors.weight_decay:.4g}"
                settings += f", epsilon x {factors.eps:.4g}"
            notes.append(
                f"the branches of {scaling.blocks} residual blocks are multiplied by {scaling.branch:.4g} "
                f"(base: {scaling.base_blocks} blocks); learning rate in them: {settings}"
            )
        return notes

    @property
    def scaled_branches(self) -> dict[str, Any] | None:
        """The scale of the residual branches and of the settings in them, for run.json."""
        if self.depth_scaling is None:
            return None
        factors = BranchFactors() if self.branch_factors is None else self.branch_factors
        return asdict(self.depth_scaling) | {"branch": self.depth_scaling.branch} | asdict(factors)

    @property
    def step_note(self) -> str | None:
        """The reason why steps are not made in the requested mode; None if they are."""
        return self.make_step.note if isinstance(self.make_step, CapturedStep) else None

    def advance(self) -> None:
        """Make one update, and measure the probes if the study requests them at this step.

        If it raises because another process of the team is gone, `undo_step` goes back."""
        self._measure_coordinates()  # if that was not done after the last step
        if not self.team.is_alone and self.team.writes:
            self._before_step = _BeforeStep.of(self)
        if (
            not self.team.writes
        ):  # each rank draws its own masks of dropout, and a checkpoint has rank 0's state
            torch.manual_seed(derived(self.run.seed, "dropout", self.team.rank, self.step))
        self.lr = self.learning_rate.rate(self.step)
        with self._on_stream():
            batch = self.batches.take()
            values = self.make_step(batch, self.lr, probed=self.run.is_probed(self.step), keeps=self._keeps)
        if values is not None:
            self.records.add_probed(self.step, values, self.recorder.is_measured)
            self.records.number(self.recorder.rows)
            self.unmeasured |= self.recorder.reasons
        self.step += 1
        self.batches_hash = self.batches.hash
        self._before_step = None
        self._measure_coordinates()

    @property
    def _keeps(self) -> bool:
        """Whether probes of the next step compare its gradients with those of this step."""
        following = self.step + 1
        return (
            self.recorder.compares_gradients and following < self.run.steps and self.run.is_probed(following)
        )

    def undo_step(self) -> bool:
        """Go back to before the update that raised, if one did. Return whether this is possible.

        Weights change last in an update, after everything is received, so they are still those before it. On
        a GPU this is unknown: its queue may wait for the other process forever."""
        if self.device.type != "cpu":
            return False
        if self._before_step is not None:
            self._before_step.restore(self)
            self._before_step = None
        return True

    @property
    def row_is_due(self) -> bool:
        """Whether the row of this step must still be logged."""
        if self.step == self.records.last_step:
            return False
        is_logged = self.step % self.log_every == 0
        return is_logged or self.evaluation_is_due or self.learning_rate.needs_row(self.step)

    @property
    def rate(self) -> float:
        """Training images per second over the whole run, without evaluation. 0 before the first step."""
        training = self.seconds - self.evaluating
        return self.step * self.run.recipe.batch_size / training if training > 0 else 0.0

    @property
    def evaluation_is_due(self) -> bool:
        """Whether the network is evaluated after this step."""
        return self.step == self.run.steps or self.step % self.evaluate_every == 0

    def log(self, should_stop: ShouldStop = lambda: False) -> list[dict[str, Any]] | None:
        """Add the history row of this step, evaluated if that is due. Return the rows that are now known.

        Rows wait on the device for an evaluation, a warm-up that needs them, or `fetch_seconds`. Returns
        None and changes nothing if `should_stop` interrupted the evaluation."""
        errors = dict.fromkeys(self.evaluated_columns, math.nan)
        if self.evaluation_is_due:
            evaluated = self._evaluate(should_stop)
            if evaluated is None:
                return None
            errors |= evaluated
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
        must_know = self.evaluation_is_due or self.learning_rate.needs_row(self.step)
        with self._on_stream():
            self.records.add(row, self.eager_step.take_sums())
        return self.fetch() if must_know or self.records.waited >= self.fetch_seconds else []

    def _wait_for_steps(self) -> None:
        """Wait until the device has finished every step so far."""
        if self.stream is not None:
            self.stream.synchronize()

    def _evaluate(self, should_stop: ShouldStop) -> dict[str, float] | None:
        self._wait_for_steps()  # otherwise the time of queued steps would count as evaluation
        began = time.perf_counter()
        with self._on_stream():
            evaluated = self._evaluate_sets(list(self.sets), should_stop)
            if evaluated is None:
                errors = None
            else:
                self.predicted = evaluated["test"].predicted
                errors = {
                    ERROR_COLUMNS[name]: percent_wrong(evaluated[name].predicted, y)
                    for name, (_, y) in self.sets.items()
                }
                errors |= {
                    LOSS_COLUMNS[name]: each.losses.mean().item()
                    for name, each in evaluated.items()
                    if each.losses is not None
                }
        self.evaluating += time.perf_counter() - began
        return errors

    def _evaluate_sets(self, names: list[str], should_stop: ShouldStop) -> dict[str, Evaluated] | None:
        self.team.share_buffers(self.network)
        sets = {name: self.sets[name] for name in names}
        return evaluate(
            self.network,
            sets,
            self.scaling,
            precision=self.run.recipe.precision,
            should_stop=should_stop,
            team=self.team,
        )

    def evaluate_finally(
        self, should_stop: ShouldStop = lambda: False, notify: Notify = lambda message: None
    ) -> bool:
        """Make the final evaluations of the trained network. Return False if `should_stop` interrupted them.

        `notify` receives a description of each part."""
        self._wait_for_steps()
        began = time.perf_counter()
        with self._on_stream():
            trained = self._trained_network(should_stop)
            is_complete = trained and self.final_evaluations.evaluate(trained, should_stop, notify)
        self.evaluating += time.perf_counter() - began
        return bool(is_complete)

    def _trained_network(self, should_stop: ShouldStop) -> TrainedNetwork | None:
        if self.predicted is None:  # a checkpoint does not hold the predictions of the last evaluation
            evaluated = self._evaluate_sets(["test"], should_stop)
            if evaluated is None:
                return None
            self.predicted = evaluated["test"].predicted
        x, y = self.sets["test"]
        return TrainedNetwork(
            run=self.run,
            network=self.network,
            x=x,
            y=y,
            predicted=self.predicted,
            classes=self.classes,
            white=self.white,
            scaling=self.scaling,
            team=self.team,
        )

    def final_tables(self, *, is_diverged: bool) -> dict[str, "pd.DataFrame"]:
        """Return the tables of the final evaluations, by name."""
        return self.final_evaluations.tables(is_diverged)

    def final(self, chance_error: float | None) -> dict[str, Any]:
        """Return the final numbers of run.json. `chance_error` is given for a diverged run."""
        numbers = self.records.tracker.final(self.records.rows, chance_error)
        return numbers | self.final_evaluations.numbers(is_diverged=chance_error is not None)

    def fetch(self) -> list[dict[str, Any]]:
        """Return the rows that waited, now known.

        If they show that the run has diverged, the run goes back to the step of the last of them."""
        with self._on_stream():
            rows = self.records.fetch()
        for row in rows:
            self.learning_rate.see(row)
        if rows and rows[-1]["step"] < self.step and not math.isfinite(rows[-1]["loss"]):
            self.step, self.lr = rows[-1]["step"], rows[-1]["lr"]
            self.batches_hash = self._waiting_hashes[self.step]
        self._waiting_hashes.clear()
        return rows

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint holds: plain values and tensors only. `restore` reads it."""
        self.fetch()
        self._wait_for_steps()  # the state is read on another stream
        state = {
            "run_id": self.run.run_id,
            "step": self.step,
            "lr": self.lr,
            "seconds": self.seconds,
            "evaluating": self.evaluating,
            "peak_memory": self.peak_memory.state(),
            "threads": torch.get_num_threads(),
            "processes": self.team.size,
            "network": self.network.state_dict(),
            "optimizer": self.eager_step.optimizer.state_dict(),
            "sums": self.eager_step.sums.cpu(),
            "batches": self.batches.state(),
            "batches_hash": self.batches_hash,
            "rng": torch.get_rng_state(),
            "records": self.records.state(),
            "learning_rate": self.learning_rate.state(),
            "probes": self.recorder.state(),
            "layer_order": self.recorder.layer_order(),
            "last_layer": self.recorder.last_layer(),
            "coordinates": None if self.coordinates is None else self.coordinates.state(),
        }
        if self.device.type == "cuda":
            state["cuda_rng"] = torch.cuda.get_rng_state(self.device)
        return state

    def weights(self, facts: dict[str, Any]) -> Weights:
        """Return what a file of weights holds, with `facts` about the run."""
        self._wait_for_steps()
        step = {"step": self.step} | ({"vocabulary": self.vocabulary} if self.vocabulary else {})
        return Weights(self.network.state_dict(), self.scaling.tensors, {**step, **facts})

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to `state`, bit for bit. On a CPU this includes the number of threads.

        With another number of processes than before, results differ by rounding, and by the masks of
        dropout."""
        state = upgraded(state)
        self.step, self.lr = state["step"], state["lr"]
        self.seconds, self.evaluating = state["seconds"], state["evaluating"]
        self.peak_memory.restore(state["peak_memory"])
        if self.device.type == "cpu" and state["processes"] == self.team.size:
            torch.set_num_threads(state["threads"])  # a sum over other threads rounds differently
        with self._on_stream():
            self.network.load_state_dict(state["network"])
            restore_optimizer(self.eager_step.optimizer, state["optimizer"])
            self.eager_step.sums.copy_(state["sums"])
            self.records.restore(state["records"], self.device)
            self.recorder.restore(state["probes"])
            self.recorder.restore_layer_order(state["layer_order"], state["last_layer"])
            self.records.number(self.recorder.rows)
            if self.coordinates is not None and state["coordinates"] is not None:
                self.coordinates.restore(state["coordinates"])
        self.batches.restore(state["batches"])
        self.batches_hash = state["batches_hash"]
        self.learning_rate.restore(state["learning_rate"])
        if not self.team.writes:
            return
        torch.set_rng_state(state["rng"])
        if self.device.type == "cuda" and "cuda_rng" in state:
            torch.cuda.set_rng_state(state["cuda_rng"], self.device)


def enumerated(names: Sequence[str]) -> str:
    """Return the first names, and how many there are."""
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


@dataclass(frozen=True, eq=False)
class _BeforeStep:
    """What an update changes before it has received everything from the other processes of a team."""

    lr: float
    buffers: list[torch.Tensor]
    batches: dict[str, Any]
    rng: torch.Tensor

    @classmethod
    def of(cls, trainer: Trainer) -> "_BeforeStep":
        buffers = [buffer.clone() for buffer in trainer.network.buffers()]
        return cls(trainer.lr, buffers, trainer.batches.position, torch.get_rng_state())

    def restore(self, trainer: Trainer) -> None:
        trainer.lr = self.lr
        for buffer, before in zip(trainer.network.buffers(), self.buffers, strict=True):
            buffer.copy_(before)
        trainer.batches.restore(self.batches)
        torch.set_rng_state(self.rng)
