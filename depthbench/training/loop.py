"""Run -> records: one network trained once, its errors and layers on the way, stored as it goes."""

import math
import time
from collections.abc import Callable
from typing import Any

import torch

from depthbench.data.images import Images
from depthbench.environment import describe_environment
from depthbench.networks.cost import count_multiply_adds, count_parameters
from depthbench.store import RunStore, describe
from depthbench.study import Run
from depthbench.training import checkpoint
from depthbench.training.trainer import Trainer

CHECKPOINT_SECONDS = 30.0

Report = Callable[[dict[str, Any]], None]


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
    keep_checkpoint: bool = False,
) -> dict[str, Any]:
    """Train `run` on `images` to its end, from its checkpoint if there is one, and store it.

    `report` is told, at each logged row, {"step", "steps", "first_step", "loss", "train_error", "test_error",
    "images_per_second"}, and {"note"} where a person should know something. `should_stop` is asked before
    each step; when it says so, the state is kept and the run is `interrupted`. `keep_checkpoint` keeps the
    last state of a finished run too. Returns what run.json then holds, its status among it."""
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
    if state is not None:
        record["earlier_environments"] = _earlier_environments(store, record["environment"])
    store.write(_updated(record, trainer, data_hash, images))

    began = time.perf_counter() - trainer.seconds
    first_step, saved = trainer.step, time.perf_counter()
    status = None if trainer.is_between_rows else _ending(trainer)  # a kept state may be a finished one
    while status is None:
        if trainer.row_is_due:
            row = trainer.log(should_stop)
            trainer.seconds = time.perf_counter() - began
            if row is None:
                status = "interrupted"
                break
            shown = {"steps": run.steps, "first_step": first_step, "images_per_second": trainer.rate}
            report(_progress(row) | shown)
            status = _ending(trainer)
        elif should_stop():
            status = "interrupted"
        else:
            trainer.advance()
            trainer.seconds = time.perf_counter() - began
            if time.perf_counter() - saved > checkpoint_seconds:
                _keep(store, trainer, _updated(record, trainer, data_hash, images))
                saved = time.perf_counter()

    record = _updated(record | {"status": status}, trainer, data_hash, images)
    if status == "interrupted" or keep_checkpoint:
        _keep(store, trainer, record)
    else:
        store.write_rows(trainer.history, trainer.layers())
        store.write(record)
        checkpoint.remove(store.checkpoint)
    return record


def _earlier_environments(store: RunStore, now: dict[str, Any]) -> list[dict[str, Any]]:
    """Where the steps before this resumption were made, if that was not where the next ones are."""
    before = store.read() or {}
    return [e for e in (*before.get("earlier_environments", []), before.get("environment")) if e and e != now]


def _ending(trainer: Trainer) -> str | None:
    """The status that the newest history row ends the run with, if it does."""
    if not math.isfinite(trainer.history[-1]["loss"]):
        return "diverged"
    patience = trainer.run.recipe.patience
    has_stalled = patience is not None and trainer.tracker.evaluations_without_progress >= patience
    return "done" if has_stalled or trainer.step == trainer.run.steps else None


def _keep(store: RunStore, trainer: Trainer, record: dict[str, Any]) -> None:
    """The state first, then what is read from it: a kill in between loses nothing."""
    checkpoint.save(store.checkpoint, trainer.state())
    store.write_rows(trainer.history, trainer.layers())
    store.write(record)


def _updated(record: dict[str, Any], trainer: Trainer, data_hash: str, images: Images) -> dict[str, Any]:
    """`record` with what is known of the run so far."""
    chance = images.chance_error if record["status"] == "diverged" else None
    return record | {
        "step": trainer.step,
        "final": trainer.tracker.final(trainer.history, chance),
        "hashes": {
            "initial_weights": trainer.initial_weights,
            "batches": trainer.batches.hash,
            "data": data_hash,
        },
        "timing": {
            "seconds": round(trainer.seconds, 3),
            "evaluating_seconds": round(trainer.evaluating, 3),
            "images_per_second": round(trainer.rate, 1),  # evaluation left out
        },
    }


def _progress(row: dict[str, Any]) -> dict[str, Any]:
    return {key: row[key] for key in ("step", "loss", "train_error", "test_error")}
