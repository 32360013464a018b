"""Run -> records: one network trained once, its errors and layers on the way, stored as it goes."""

import contextlib
import math
import time
from collections.abc import Callable, Generator
from typing import Any

import torch

from depthbench.data.images import Images
from depthbench.machine.environment import describe_environment
from depthbench.networks.cost import count_parameters
from depthbench.store.record import FINISHED, describe
from depthbench.store.run_store import RunStore
from depthbench.study.model import Run
from depthbench.training import checkpoint
from depthbench.training.mode import TrainingMode
from depthbench.training.trainer import Trainer

CHECKPOINT_SECONDS = 30.0

Report = Callable[[dict[str, Any]], None]
Steps = Generator[None, None, dict[str, Any]]


def train(
    run: Run,
    images: Images,
    store: RunStore,
    mode: TrainingMode,
    *,
    data_hash: str,
    report: Report = lambda event: None,
    should_stop: Callable[[], bool] = lambda: False,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> Steps:
    """Train `run` on `images` to its end, from its checkpoint if there is one, and store it.

    A generator that stops after each update until it is asked for the next, so that several runs can take
    turns in one process, each as if it were alone; `finish` takes it to its end. It gives what run.json then
    holds, its status among it.

    `report` is told, at each logged row, {"step", "steps", "first_step", "loss", "train_error", "test_error",
    "images_per_second"}, {"note"} where a person should know something, and {"doing"} where something else
    than training begins. `should_stop` is asked before each step; when it says so, the state is kept and the
    run is `interrupted`."""
    trainer = Trainer(run, images, mode)
    record = _record(trainer, images, data_hash)
    with contextlib.closing(trainer):
        return (yield from _train(trainer, store, record, report, should_stop, checkpoint_seconds))


def finish(steps: Steps) -> dict[str, Any]:
    """Take a `train` to its end: the record of its run."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def _train(
    trainer: Trainer,
    store: RunStore,
    record: dict[str, Any],
    report: Report,
    should_stop: Callable[[], bool],
    checkpoint_seconds: float,
) -> Steps:
    state, note = checkpoint.load(store.checkpoint, trainer.run.run_id)
    if note is not None:
        report({"note": note})
    if trainer.is_streamed:
        report({"note": trainer.placement})
    if state is not None:
        threads = torch.get_num_threads()
        trainer.restore(state)
        if torch.get_num_threads() != threads:
            note = f"goes on with as many threads as it began with, {torch.get_num_threads()}, not {threads}"
            report({"note": note})
    record["environment"] = describe_environment(trainer.device, torch.get_num_threads())
    if state is not None:
        record["earlier_environments"] = _earlier_environments(store, record["environment"])
    store.write(_updated(record, trainer))

    began = time.perf_counter() - trainer.seconds
    first_step, saved, told = trainer.step, time.perf_counter(), False
    status = _ending(trainer)  # a kept state may be a finished one
    while status is None:
        if trainer.row_is_due:
            if trainer.evaluation_is_due:
                report({"doing": f"evaluating at step {trainer.step}"})
            rows = trainer.log(should_stop)
            trainer.seconds = time.perf_counter() - began
            if rows is None:
                status = "interrupted"
                break
            if rows:
                shown = {"steps": trainer.run.steps, "first_step": first_step}
                report(_progress(rows[-1]) | shown | {"images_per_second": trainer.rate})
                status = _ending(trainer)
        elif should_stop():
            status = "interrupted"
        else:
            trainer.advance()
            trainer.seconds = time.perf_counter() - began
            if trainer.step_note is not None and not told:
                report({"note": trainer.step_note})
                told = True
            if time.perf_counter() - saved > checkpoint_seconds:
                _keep(store, trainer, record)
                saved = time.perf_counter()
                status = _ending(trainer)  # the rows that this fetched may tell of a divergence
            yield

    if status == "done":
        if not trainer.evaluate_finally(should_stop, lambda what: report({"doing": what})):
            status = "interrupted"
        trainer.seconds = time.perf_counter() - began
    if status in FINISHED:
        chance = record["chance_error"] if status == "diverged" else None
        for name, table in trainer.final_tables(chance).items():
            store.write_frame(name, table)
    record = record | {"status": status}
    if status == "interrupted" or trainer.mode.keep_checkpoint:
        return _keep(store, trainer, record)
    record = _store(store, trainer, record)
    checkpoint.remove(store.checkpoint)
    return record


def _record(trainer: Trainer, images: Images, data_hash: str) -> dict[str, Any]:
    """What run.json says of a run from its first step on and does not change."""
    return describe(trainer.run) | {
        "steps": trainer.run.steps,
        "num_classes": len(images.classes),
        "classes": list(images.classes),
        "image_shape": list(images.shape),  # (C, H, W)
        "chance_error": images.chance_error,
        "parameters": count_parameters(trainer.network),
        "multiply_adds": trainer.count_multiply_adds(images.shape),
        "weighted_layers": len(trainer.recorder.layers),
        "skipped_images": len(images.skipped),
        "hashes": {"initial_weights": trainer.initial_weights, "data": data_hash},
    }


def _earlier_environments(store: RunStore, now: dict[str, Any]) -> list[dict[str, Any]]:
    """Where the steps before this resumption were made, if that was not where the next ones are."""
    before = store.read() or {}
    return [e for e in (*before.get("earlier_environments", []), before.get("environment")) if e and e != now]


def _ending(trainer: Trainer) -> str | None:
    """The status that the newest known row ends the run with, if it does."""
    if not trainer.records.rows:
        return None
    newest = trainer.records.rows[-1]
    if not math.isfinite(newest["loss"]):
        return "diverged"
    patience = trainer.run.recipe.patience
    has_stalled = patience is not None and trainer.records.tracker.evaluations_without_progress >= patience
    return "done" if has_stalled or newest["step"] == trainer.run.steps else None


def _keep(store: RunStore, trainer: Trainer, record: dict[str, Any]) -> dict[str, Any]:
    """The state first, then what is read from it: a kill in between loses nothing. As `_store`."""
    checkpoint.save(store.checkpoint, trainer.state())
    return _store(store, trainer, record)


def _store(store: RunStore, trainer: Trainer, record: dict[str, Any]) -> dict[str, Any]:
    """Write the tables, and last run.json: what it then holds."""
    store.write_rows(trainer.records.rows, trainer.records.layers())
    record = _updated(record, trainer)
    store.write(record)
    return record


def _updated(record: dict[str, Any], trainer: Trainer) -> dict[str, Any]:
    """`record` with what is known of the run so far."""
    chance = record["chance_error"] if record["status"] == "diverged" else None
    return record | {
        "step": trainer.step,
        "final": trainer.final(chance),
        "hashes": record["hashes"] | {"batches": trainer.batches_hash},
        "execution": trainer.execution,
        "timing": {
            "seconds": round(trainer.seconds, 3),
            "evaluating_seconds": round(trainer.evaluating, 3),
            "images_per_second": round(trainer.rate, 1),  # evaluation left out
            "peak_memory": trainer.peak_memory.bytes,
            "peak_memory_of": trainer.peak_memory.of,
        },
    }


def _progress(row: dict[str, Any]) -> dict[str, Any]:
    return {key: row[key] for key in ("step", "loss", "train_error", "test_error")}
