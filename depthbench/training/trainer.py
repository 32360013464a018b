"""The state of one run while it trains, and the moves that change it."""

import hashlib
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from depthbench.catalog import look_up
from depthbench.data.batches import Batches, Scaling
from depthbench.data.images import Images, split
from depthbench.networks import NETWORKS
from depthbench.precision import set_precision
from depthbench.probes import PROBES
from depthbench.probes.recorder import Recorder
from depthbench.seeds import derived
from depthbench.study import Run
from depthbench.training.evaluate import evaluate
from depthbench.training.recipe import learning_rate, make_optimizer
from depthbench.training.step import Step
from depthbench.training.tracker import Tracker

HOLD_WINDOW = 100  # steps over which the train error of the paper's warm-up rule is taken


class Trainer:
    """Everything that one run owns while it trains. `history` and `layers` are its records."""

    def __init__(self, run: Run, images: Images, device: torch.device):
        self.run, self.device = run, device
        set_precision(run.recipe.precision)
        torch.manual_seed(run.seed)
        family = look_up(NETWORKS, "network", run.network)
        self.network = build_network(family, run, images).to(device, memory_format=torch.channels_last)
        self.initial_weights = hash_weights(self.network)
        torch.manual_seed(derived(run.seed, "dropout"))

        probes = {name: look_up(PROBES, "probe", name).load() for name in run.probe.names}
        self.recorder = Recorder(self.network, probes)
        optimizer = make_optimizer(self.network, run.recipe)
        self.step_once = Step(self.network, optimizer, run.recipe, self.recorder, device)

        self.scaling = Scaling(images.train_x, run.data.normalisation, device)
        recipe = run.recipe
        x, y = (torch.from_numpy(a).to(device) for a in (images.train_x, images.train_y))
        stream = {
            "batch_size": recipe.batch_size,
            "seed": run.seed,
            "pad": recipe.pad,
            "flip": bool(recipe.flip),
        }
        self.batches = Batches(x, y, self.scaling, **stream)
        self.sets = {"test_error": (images.test_x, images.test_y)}
        if images.val_x is not None:
            self.sets["val_error"] = (images.val_x, images.val_y)
        self.sets = {k: tuple(torch.from_numpy(a).to(device) for a in pair) for k, pair in self.sets.items()}
        self.sets["train_error_eval"] = (x, y)
        if run.evaluate.train_size is not None and run.evaluate.train_size < len(y):
            chosen = torch.from_numpy(split(images.train_y, run.evaluate.train_size, run.data.split_seed)[1])
            self.sets["train_error_eval"] = (x[chosen.to(device)], y[chosen.to(device)])

        self.step = 0  # updates made
        self.lr = 0.0  # of the last one
        self.seconds = 0.0  # in all
        self.evaluating = 0.0  # seconds of these spent on evaluation
        self.history: list[dict[str, Any]] = []
        self.probed_steps: list[int] = []
        self.probed_values: list[torch.Tensor] = []  # (layers, probes) each, on the device
        self.tracker = Tracker()
        self.hold_sums = (0.0, 0)  # percent x steps, steps: of this window of the warm-up rule
        self.holding = recipe.warmup == "hold" and run.depth >= recipe.hold_from_depth

    def advance(self) -> None:
        """Make one update, probed where the study says so."""
        self.lr = learning_rate(self.run.recipe, self.step, self.holding)
        x, y = self.batches.take()
        values = self.step_once(x, y, self.lr, probed=self.run.is_probed(self.step))
        if values is not None:
            self.probed_steps.append(self.step)
            self.probed_values.append(values)
        self.step += 1

    @property
    def row_is_due(self) -> bool:
        """Whether this step is to be logged, and is not yet."""
        if self.step == 0 or not self.is_between_rows:
            return False
        logged = self.step % self.run.evaluate.log_every == 0
        return logged or self._evaluation_is_due or self._window_ends

    @property
    def is_between_rows(self) -> bool:
        """Whether no history row tells of this very step."""
        return not self.history or self.history[-1]["step"] != self.step

    @property
    def rate(self) -> float:
        """Images a second over the whole run, evaluation left out; 0 before the first step."""
        training = self.seconds - self.evaluating
        return self.step * self.run.recipe.batch_size / training if training > 0 else 0.0

    @property
    def _evaluation_is_due(self) -> bool:
        return self.step == self.run.steps or self.step % self.run.evaluate.every == 0

    @property
    def _window_ends(self) -> bool:
        return self.holding and self.step % HOLD_WINDOW == 0

    def log(self, should_stop: Callable[[], bool] = lambda: False) -> dict[str, Any] | None:
        """Add the history row of this step, evaluated where that is due, and return it.

        None, and nothing changed, where `should_stop` said so during the evaluation."""
        errors = dict.fromkeys(("train_error_eval", "test_error", "val_error"), math.nan)
        if self._evaluation_is_due:
            began = time.perf_counter()
            found = evaluate(self.network, self.sets, self.scaling, self.run.recipe.precision, should_stop)
            self.evaluating += time.perf_counter() - began
            if found is None:
                return None
            errors |= found
        steps = self.step - (self.history[-1]["step"] if self.history else 0)
        loss, train_error = self.step_once.take_sums()
        row = {
            "step": self.step,
            "epoch": self.step * self.run.recipe.batch_size / len(self.batches.y),
            "lr": self.lr,
            "loss": loss,
            "train_error": train_error,
            **(errors if math.isfinite(loss) else dict.fromkeys(errors, math.nan)),
            "batch_hash": self.batches.hash[:12],
        }
        if self.holding:
            self.hold_sums = (self.hold_sums[0] + train_error * steps, self.hold_sums[1] + steps)
        if self._window_ends:
            self.holding = self.hold_sums[0] / self.hold_sums[1] >= self.run.recipe.hold_until_train_error
            self.hold_sums = (0.0, 0)
        if self._evaluation_is_due and math.isfinite(loss):
            self.tracker.see(row)
        self.history.append(row)
        return row

    def layers(self):
        """The probed values as a table: a row a probed step and layer. One copy from the device."""
        import pandas as pd

        names = list(self.recorder.probes)
        count = len(self.recorder.layers)
        values = (
            torch.stack(self.probed_values).cpu().numpy()
            if self.probed_values
            else np.zeros((0, count, len(names)))
        )
        steps = len(self.probed_steps)
        table = {
            "step": np.repeat(np.array(self.probed_steps, dtype=np.int64), count),
            "layer": np.tile(np.arange(1, count + 1), steps),
            "name": [layer.name for layer in self.recorder.layers] * steps,
            "stage": [layer.stage for layer in self.recorder.layers] * steps,
        }
        flat = values.reshape(steps * count, len(names))
        return pd.DataFrame(table | {name: flat[:, i] for i, name in enumerate(names)})

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds; `restore` takes it back. Plain values and tensors only."""
        values = torch.stack(self.probed_values).cpu() if self.probed_values else None
        state = {
            "run_id": self.run.run_id,
            "step": self.step,
            "lr": self.lr,
            "seconds": self.seconds,
            "evaluating": self.evaluating,
            "threads": torch.get_num_threads(),
            "network": self.network.state_dict(),
            "optimizer": self.step_once.optimizer.state_dict(),
            "sums": self.step_once.sums.cpu(),
            "batches": self.batches.state(),
            "rng": torch.get_rng_state(),
            "history": self.history,
            "probed_steps": self.probed_steps,
            "probed_values": values,
            "tracker": self.tracker.state(),
            "holding": self.holding,
            "hold_sums": self.hold_sums,
        }
        if self.device.type == "cuda":
            state["cuda_rng"] = torch.cuda.get_rng_state(self.device)
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to `state`, bit for bit: on a CPU also with the threads it was made with."""
        self.step, self.lr = state["step"], state["lr"]
        self.seconds, self.evaluating = state["seconds"], state["evaluating"]
        if self.device.type == "cpu":
            torch.set_num_threads(state["threads"])  # a sum over other threads rounds differently
        self.network.load_state_dict(state["network"])
        self.step_once.optimizer.load_state_dict(state["optimizer"])
        self.step_once.sums.copy_(state["sums"])
        self.batches.restore(state["batches"])
        self.history, self.probed_steps = list(state["history"]), list(state["probed_steps"])
        self.probed_values = (
            [] if state["probed_values"] is None else list(state["probed_values"].to(self.device))
        )
        self.tracker.restore(state["tracker"])
        self.holding, self.hold_sums = state["holding"], tuple(state["hold_sums"])
        torch.set_rng_state(state["rng"])
        if self.device.type == "cuda" and "cuda_rng" in state:
            torch.cuda.set_rng_state(state["cuda_rng"], self.device)


def build_network(family, run: Run, images: Images) -> torch.nn.Module:
    """The network of a run. A plug-in's builder is given only the options that were changed, so that it
    need not know ours."""
    chosen = run.options.model_dump(exclude_defaults=True)
    return family(depth=run.depth, in_channels=images.shape[0], num_classes=len(images.classes), **chosen)


def hash_weights(network: torch.nn.Module) -> str:
    """sha256 over every parameter: its name, shape and bytes."""
    digest = hashlib.sha256()
    for name, parameter in network.named_parameters():
        digest.update(f"{name}{tuple(parameter.shape)}".encode())
        digest.update(parameter.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
