"""Stored runs as TensorBoard event files, in RESULTS/tensorboard/RUN-ID.

They hold history.parquet and layers.parquet as scalars: `loss`, `lr` and the errors (percent) by the number
of updates, and each probe by probed step, with one tag per layer, e.g.
`grad_norm_preact/03-stages.0.0.conv2`. Errors that were not measured at a step are left out. A loss or norm
that is not finite is written as it is. TensorBoard keeps 32-bit floats."""

import importlib.util
import shutil
from collections import defaultdict
from pathlib import Path

from depthbench.analysis.layers import was_not_measured
from depthbench.errors import BadInput
from depthbench.events import Display, Event, Forwarding, Note, RunEnded
from depthbench.probes.columns import OTHER_COLUMNS, ROW_COLUMNS
from depthbench.store.remote import fetch
from depthbench.store.run_store import RunStore
from depthbench.store.study_store import StudyStore

FOLDER = "tensorboard"
HISTORY_TAGS = ("loss", "lr", "train_error", "train_error_eval", "test_error", "val_error")
WRITTEN_AT_EVERY_ROW = ("loss", "lr")  # whether finite or not
LAYER_KEYS = ("step", "layer", "name")

Scalars = dict[int, dict[str, float]]  # step -> tag -> value


def check_installed() -> None:
    """Raise BadInput if TensorBoard, which is an extra, is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise BadInput("--tensorboard needs TensorBoard: run pip install 'depthbench[tensorboard]'")


def write_study(path: str | Path) -> Path:
    """Write the event files of every run stored in `path`, and return the folder for `tensorboard --logdir`.

    The event files of results at a URL stay on this machine.

    Raises BadInput if TensorBoard is not installed, or `path` holds no results."""
    check_installed()
    store = StudyStore(fetch(path))
    store.table()
    for run in store.run_stores():
        write_run(run)
    return store.path / FOLDER


def write_run(store: RunStore) -> None:
    """Replace the event files of one run. A run without readable tables gets none."""
    from tensorboard.compat.proto.event_pb2 import Event as FileEvent
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    try:
        scalars = _scalars(store)
    except (OSError, ValueError):
        return  # not started, or broken: load_results reports it
    folder = store.path.parents[1] / FOLDER / store.path.name
    partial = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(partial, ignore_errors=True)  # left by a kill
    wall_time = store.record_file.stat().st_mtime  # the time of single rows is not stored
    writer = EventFileWriter(str(partial))
    for step, values in sorted(scalars.items()):
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()])
        writer.add_event(FileEvent(wall_time=wall_time, step=step, summary=summary))
    writer.close()
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)


def _scalars(store: RunStore) -> Scalars:
    """Return the scalars of one run. Raises OSError or ValueError if a table is missing or broken."""
    history, layers = store.frame("history"), store.frame("layers")
    scalars: Scalars = defaultdict(dict)
    for tag in (tag for tag in HISTORY_TAGS if tag in history):
        rows = history if tag in WRITTEN_AT_EVERY_ROW else history.dropna(subset=[tag])
        for step, value in zip(rows["step"], rows[tag], strict=True):
            scalars[step][tag] = value
    digits = max(2, len(str(layers["layer"].max())))  # so that tags sort in the order of the layers
    for probe in layers.columns.difference([*ROW_COLUMNS, *OTHER_COLUMNS]):
        measured = layers[~was_not_measured(layers, probe)]
        for step, layer, name, value in measured[[*LAYER_KEYS, probe]].itertuples(index=False):
            scalars[step][f"{probe}/{layer:0{digits}}-{name}"] = value
    return scalars


class TensorBoardDisplay(Forwarding):
    """A display that writes the event files of each run as it ends, and passes all events on to another."""

    def __init__(self, display: Display, store: StudyStore):
        super().__init__(display)
        self.store = store

    def show(self, event: Event) -> None:
        """Write the event files of a run that ended, and pass the event on."""
        if isinstance(event, RunEnded):
            self._write(event)
        super().show(event)

    def _write(self, event: RunEnded) -> None:
        try:
            write_run(self.store.run(event.run.run_id))
        except OSError as error:  # a full disk must not end the other runs
            text = f"cannot write the TensorBoard event files ({error.strerror})"
            self.display.show(Note(text, event.run))
