"""Stored runs as TensorBoard's event files, in RESULTS/tensorboard/RUN-ID beside the results.

They hold what history.parquet and layers.parquet hold, as scalars: `loss`, `lr` and the errors (percent) by
updates made, and each probe by probed step, a tag a layer, e.g. `grad_norm_preact/03-stages.0.0.conv2`. An
error that was not taken at a step is left out; a loss or norm that is no number is written as it is.
TensorBoard keeps 32-bit floats."""

import importlib.util
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

from depthbench.errors import BadInput
from depthbench.store.run_store import RunStore
from depthbench.store.study_store import StudyStore
from depthbench.study.model import Run

FOLDER = "tensorboard"
HISTORY = ("loss", "lr", "train_error", "train_error_eval", "test_error", "val_error")
ALWAYS = ("loss", "lr")  # of each row, number or not
PLACE = ("step", "layer", "name", "stage")  # columns of layers.parquet that are no probe

Scalars = dict[int, dict[str, float]]  # step -> tag -> value


def check_installed() -> None:
    """Raise BadInput where TensorBoard is not installed: it is an extra."""
    if importlib.util.find_spec("tensorboard") is None:
        raise BadInput("--tensorboard needs TensorBoard: pip install 'depthbench[tensorboard]'")


def write_study(path: str | Path) -> Path:
    """Write the event files of every run stored under `path`; what to give to `tensorboard --logdir`.

    Raises BadInput where TensorBoard is not installed, or `path` holds no results."""
    check_installed()
    store = StudyStore(path)
    store.table()
    for run in store.run_stores():
        write_run(run)
    return store.path / FOLDER


def write_run(store: RunStore) -> None:
    """Replace the event files of one run by what is stored of it; of one without tables there are none."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    try:
        scalars = _scalars(store)
    except (OSError, ValueError):
        return  # not begun, or broken: load_results says so
    folder = store.path.parents[1] / FOLDER / store.path.name
    making = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(making, ignore_errors=True)  # of a kill in the middle
    when = (store.path / "run.json").stat().st_mtime  # of single rows no time is stored
    writer = EventFileWriter(str(making))
    for step, values in sorted(scalars.items()):
        told = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        writer.add_event(Event(wall_time=when, step=step, summary=Summary(value=told)))
    writer.close()
    shutil.rmtree(folder, ignore_errors=True)
    making.replace(folder)


def _scalars(store: RunStore) -> Scalars:
    """Raises OSError or ValueError where a table is missing or broken."""
    history, layers = store.frame("history"), store.frame("layers")
    scalars: Scalars = defaultdict(dict)
    for tag in (tag for tag in HISTORY if tag in history):
        known = history if tag in ALWAYS else history.dropna(subset=[tag])
        for step, value in zip(known["step"], known[tag], strict=True):
            scalars[step][tag] = value
    digits = max(2, len(str(layers["layer"].max())))  # so that tags sort as the layers do
    for probe in layers.columns.difference(PLACE):
        for step, layer, name, value in layers[["step", "layer", "name", probe]].itertuples(index=False):
            scalars[step][f"{probe}/{layer:0{digits}}-{name}"] = value
    return scalars


class Written:
    """A display (progress.py) that also writes the event files of each run as it ends."""

    def __init__(self, watch, store: StudyStore):
        self.watch, self.store = watch, store

    def __getattr__(self, name: str) -> Any:
        return getattr(self.watch, name)

    def __enter__(self):
        self.watch.__enter__()
        return self

    def __exit__(self, *error):
        self.watch.__exit__(*error)

    def ended(self, run: Run, status: str, reason: str | None, record: dict[str, Any] | None) -> None:
        try:
            write_run(self.store.run(run.run_id))
        except OSError as failed:  # a full disk is no reason to end the other runs
            self.watch.note(f"{run.run_id}: its event files cannot be written ({failed.strerror})")
        self.watch.ended(run, status, reason, record)
