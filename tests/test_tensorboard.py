import math
import sys

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from depthbench.cli.app import app
from depthbench.errors import BadInput
from depthbench.events import Note, RunEnded, Silent
from depthbench.store.record import Record
from depthbench.store.study_store import StudyStore
from depthbench.tensorboard import TensorBoardDisplay, check_installed, write_run

HISTORY = [
    {"step": 2, "lr": 0.1, "loss": 2.5, "train_error": 90.0, "test_error": math.nan, "batch_hash": "ab"},
    {"step": 4, "lr": 0.01, "loss": math.inf, "train_error": 80.0, "test_error": 50.3, "batch_hash": "cd"},
]
PROBED = {
    "step": [0, 0, 3, 3],
    "layer": [1, 2, 1, 2],
    "name": ["conv1", "fc"] * 2,
    "stage": ["conv1", "fc"] * 2,
}
LAYERS = pd.DataFrame(
    PROBED
    | {"grad_norm_preact": [0.1, 0.2, 0.3, 1e-30], "weight_norm": [1.0, 2.0, 3.0, 4.0]}
    | {"grad_cosine": [math.nan, math.nan, 0.5, math.inf], "not_measured": ["grad_cosine"] * 2 + [""] * 2}
)
EXPECTED = {
    "loss": {2: 2.5, 4: math.inf},
    "lr": {2: 0.1, 4: 0.01},
    "train_error": {2: 90.0, 4: 80.0},
    "test_error": {4: 50.3},
    "grad_norm_preact/01-conv1": {0: 0.1, 3: 0.3},
    "grad_norm_preact/02-fc": {0: 0.2, 3: 1e-30},
    "weight_norm/01-conv1": {0: 1.0, 3: 3.0},
    "weight_norm/02-fc": {0: 2.0, 3: 4.0},
    "grad_cosine/01-conv1": {3: 0.5},
    "grad_cosine/02-fc": {3: math.inf},
}


@pytest.fixture
def stored(tiny, tmp_path):
    """Return (store, run) of a study in which `run` is done and another one has not started."""
    pytest.importorskip("tensorboard")
    store, study = StudyStore(tmp_path / "tiny"), tiny()
    with store.opened(study, "hash"):
        run, other = study.runs()
        store.run(run.run_id).write_rows(HISTORY, LAYERS)
        store.run(run.run_id).write(Record.of(run).changed(status="done"))
        store.run(other.run_id).write(Record.of(other))
    return store, run


def read(folder):
    """Return tag -> [(step, value)], as TensorBoard reads them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def as_float32(numbers):
    return [(step, float(np.float32(value))) for step, value in numbers.items()]


def test_writing_a_run_again_does_not_repeat_its_numbers(stored, monkeypatch):
    store, run = stored
    monkeypatch.setattr("depthbench.report.page.write_report", lambda path, style: path)
    for _ in range(2):
        done = CliRunner().invoke(app, ["report", "--tensorboard", str(store.path)], catch_exceptions=False)
        assert done.stdout.splitlines()[0] == str(store.path / "tensorboard")
        (folder,) = (store.path / "tensorboard").iterdir()  # nothing of the run that has not begun
        assert folder.name == run.run_id
        assert read(folder) == {tag: as_float32(numbers) for tag, numbers in EXPECTED.items()}


def test_a_run_is_written_as_it_ends_and_every_event_is_passed_on(stored):
    store, run = stored
    shown = []

    class Shown(Silent):
        def show(self, event):
            shown.append(event)

    ended = RunEnded(run, store.run(run.run_id).read())
    with TensorBoardDisplay(Shown(), store) as display:
        display.tick()
        display.show(ended)
        assert len(read(store.path / "tensorboard" / run.run_id)) == len(EXPECTED)
        (store.path / "tensorboard").rename(store.path / "before")
        (store.path / "tensorboard").write_text("a file in its place")
        display.show(ended)
    assert shown[0] == shown[2] == ended
    assert isinstance(shown[1], Note)
    assert "cannot write the TensorBoard event files" in shown[1].text


def test_tags_sort_in_the_order_of_the_layers(stored):
    store, run = stored
    many = pd.DataFrame({"step": 0, "layer": [9, 100], "name": ["a", "b"], "stage": "1", "weight_norm": 1.0})
    store.run(run.run_id).write_rows(HISTORY[:1], many)
    write_run(store.run(run.run_id))
    tags = sorted(read(store.path / "tensorboard" / run.run_id))
    assert tags[-2:] == ["weight_norm/009-a", "weight_norm/100-b"]


@pytest.mark.parametrize("command", [["run", "--depths", "8"], ["report", "nowhere"]])
def test_without_tensorboard_one_line_says_how_to_install_it(monkeypatch, command):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    done = CliRunner().invoke(app, [*command, "--tensorboard"])
    assert isinstance(done.exception, BadInput)
    assert str(done.exception).endswith("pip install 'depthbench[tensorboard]'")
    with pytest.raises(BadInput):
        check_installed()


def test_a_folder_of_studies_gets_the_event_files_of_each(stored):
    store, run = stored
    store.run(run.run_id).write_rows([row | {"train_error_eval": 75.0} for row in HISTORY], LAYERS)
    done = CliRunner().invoke(app, ["report", str(store.path.parent), "--tensorboard"])
    assert done.stdout.splitlines() == [
        str(store.path / "tensorboard"),
        str(store.path.parent / "index.html"),
    ]
    assert read(store.path / "tensorboard" / run.run_id)["loss"]
