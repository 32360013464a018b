"""Run -> records: one network trained once, its errors and layers on the way, stored as it goes."""

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
from depthbench.environment import describe_environment
from depthbench.networks import NETWORKS
from depthbench.networks.cost import count_multiply_adds, count_parameters
from depthbench.probes import PROBES
from depthbench.probes.recorder import Recorder
from depthbench.store import RunStore, describe
from depthbench.study import Run
from depthbench.training import checkpoint
from depthbench.training.evaluate import error
from depthbench.training.recipe import learning_rate, make_optimizer
from depthbench.training.step import Step
from depthbench.training.tracker import Tracker

CHECKPOINT_SECONDS = 30.0
HOLD_WINDOW = 100  # steps over which the train error of the paper's warm-up rule is taken

Report = Callable[[dict[str, Any]], None]


class Trainer:
    """Everything that one run owns while it trains. `history` and `layers` are its records."""

    def __init__(self, run: Run, images: Images, device: torch.device):
        self.run, self.device = run, device
        set_precision(run.recipe.precision)
        torch.manual_seed(run.seed)
        family = look_up(NETWORKS, "network", run.network)
        self.network = build_network(family, run, images).to(device, memory_format=torch.channels_last)
        self.initial_weights = hash_weights(self.network)
        torch.manual_seed(run.seed)  # dropout draws alike whatever the initialisation drew

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
        self.seconds = 0.0
        self.history: list[dict[str, Any]] = []
        self.probed_steps: list[int] = []
        self.probed_values: list[torch.Tensor] = []  # (layers, probes) each, on the device
        self.tracker = Tracker()
        self.hold_sums = (0.0, 0)  # percent x steps, steps: of this window of the warm-up rule
        self.holding = recipe.warmup == "hold" and run.depth >= recipe.hold_from_depth

    def advance(self) -> dict[str, Any] | None:
        """Make one update. Its history row, where this step is logged or evaluated."""
        run, lr = self.run, learning_rate(self.run.recipe, self.step, self.holding)
        x, y = self.batches.take()
        values = self.step_once(x, y, lr, probed=run.is_probed(self.step))
        if values is not None:
            self.probed_steps.append(self.step)
            self.probed_values.append(values)
        self.step += 1
        last = self.step == run.steps
        evaluated = last or self.step % run.evaluate.every == 0
        window_ends = self.holding and self.step % HOLD_WINDOW == 0
        if not (evaluated or window_ends or self.step % run.evaluate.log_every == 0):
            return None
        return self._row(lr, evaluated, window_ends)

    def _row(self, lr: float, evaluated: bool, window_ends: bool) -> dict[str, Any]:
        steps = self.step - (self.history[-1]["step"] if self.history else 0)
        loss, train_error = self.step_once.take_sums()
        row = {
            "step": self.step,
            "epoch": self.step * self.run.recipe.batch_size / len(self.batches.y),
            "lr": lr,
            "loss": loss,
            "train_error": train_error,
            "batch_hash": self.batches.hash[:12],
        }
        row |= dict.fromkeys(("train_error_eval", "test_error", "val_error"), math.nan)
        if self.holding:
            self.hold_sums = (self.hold_sums[0] + train_error * steps, self.hold_sums[1] + steps)
        if window_ends:
            self.holding = self.hold_sums[0] / self.hold_sums[1] >= self.run.recipe.hold_until_train_error
            self.hold_sums = (0.0, 0)
        if evaluated and math.isfinite(loss):
            precision = self.run.recipe.precision
            for name, (x, y) in self.sets.items():
                row[name] = error(self.network, x, y, self.scaling, precision)
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
            "seconds": self.seconds,
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
        self.step, self.seconds = state["step"], state["seconds"]
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


def train(
    run: Run,
    images: Images,
    store: RunStore,
    device: torch.device,
    *,
    data_hash: str,
    report: Report = lambda event: None,
    should_stop: Callable[[], bool] = lambda: False,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> dict[str, Any]:
    """Train `run` on `images` to its end, from its checkpoint if there is one, and store it.

    `report` is told, at each logged row, {"step", "steps", "first_step", "loss", "train_error", "test_error",
    "images_per_second"}, and {"note"} where a person should know something. `should_stop` is asked after
    each step; when it says so, the state is kept and the run is `interrupted`. Returns what run.json then
    holds, its status among it."""
    trainer = Trainer(run, images, device)
    record = describe(run) | {
        "steps": run.steps,
        "num_classes": len(images.classes),
        "parameters": count_parameters(trainer.network),
        "multiply_adds": count_multiply_adds(trainer.network, images.shape),
        "weighted_layers": len(trainer.recorder.layers),
        "skipped_images": len(images.skipped),
    }
    state, note = checkpoint.load(store.checkpoint, run.run_id)
    if note is not None:
        report({"note": note})
    if state is not None:
        trainer.restore(state)
    record["environment"] = describe_environment(device, torch.get_num_threads())
    store.write(_updated(record, trainer, data_hash, images))

    began = time.perf_counter() - trainer.seconds
    first_step, since = trainer.step, time.perf_counter()
    saved = since
    status = "done"
    while trainer.step < run.steps:
        row = trainer.advance()
        now = time.perf_counter()
        trainer.seconds = now - began
        if row is not None:
            rate = (trainer.step - first_step) * run.recipe.batch_size / (now - since)
            report(_progress(row) | {"steps": run.steps, "first_step": first_step, "images_per_second": rate})
            if not math.isfinite(row["loss"]):
                status = "diverged"
                break
            patience = run.recipe.patience
            if patience is not None and trainer.tracker.evaluations_without_progress >= patience:
                break
        if should_stop():
            status = "interrupted"
            break
        if now - saved > checkpoint_seconds:
            _keep(store, trainer, _updated(record, trainer, data_hash, images))
            saved = time.perf_counter()

    record = _updated(record | {"status": status}, trainer, data_hash, images)
    if status == "interrupted":
        _keep(store, trainer, record)
    else:
        store.write_rows(trainer.history, trainer.layers())
        store.write(record)
        checkpoint.remove(store.checkpoint)
    return record


def _keep(store: RunStore, trainer: Trainer, record: dict[str, Any]) -> None:
    """The state first, then what is read from it: a kill in between loses nothing."""
    checkpoint.save(store.checkpoint, trainer.state())
    store.write_rows(trainer.history, trainer.layers())
    store.write(record)


def _updated(record: dict[str, Any], trainer: Trainer, data_hash: str, images: Images) -> dict[str, Any]:
    """`record` with what is known of the run so far."""
    chance = images.chance_error if record["status"] == "diverged" else None
    seconds = trainer.seconds
    rate = trainer.step * trainer.run.recipe.batch_size / seconds if seconds else None
    return record | {
        "step": trainer.step,
        "final": trainer.tracker.final(trainer.history, chance),
        "hashes": {
            "initial_weights": trainer.initial_weights,
            "batches": trainer.batches.hash,
            "data": data_hash,
        },
        "timing": {"seconds": round(seconds, 3), "images_per_second": rate and round(rate, 1)},
    }


def _progress(row: dict[str, Any]) -> dict[str, Any]:
    return {key: row[key] for key in ("step", "loss", "train_error", "test_error")}


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


def set_precision(precision: str) -> None:
    """Let CUDA round products to TF32 only where the recipe says so; fp32 means fp32."""
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
