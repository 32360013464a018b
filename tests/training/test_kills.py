"""A kill in the middle of a save. It leaves what is on the disk at that moment."""

import os
from dataclasses import replace
from pathlib import Path

import pandas as pd

from depthbench.events import Note
from depthbench.files import PART
from depthbench.store.run_store import RunStore
from depthbench.training.mode import TrainingMode

OFTEN = TrainingMode(checkpoint_seconds=0)  # saves after each step
MOMENTS = ((os, "close"), (os, "fsync"), (os, "replace"), (Path, "chmod"), (Path, "replace"))
"""The functions that a save calls: after it created a file, wrote it, and before it puts it in its place."""


def noting(function, note):
    def call(*arguments, **keywords):
        note()
        return function(*arguments, **keywords)

    return call


def watched(folder, patch):
    """Return a list that gets the files of a directory at each moment of each save, in order.

    Temporary files do not count as a difference, because a later start ignores them."""
    states = []

    def is_of_ours(name):
        return not name.endswith(PART)

    def note():
        files = {file.name: file.read_bytes() for file in folder.glob("*") if file.name != ".lock"}
        ours = dict(item for item in files.items() if is_of_ours(item[0]))
        if states and ours == dict(item for item in states[-1].items() if is_of_ours(item[0])):
            files = states.pop() | files  # with all temporary files
        states.append(files)

    for owner, name in MOMENTS:
        patch.setattr(owner, name, noting(getattr(owner, name), note))
    return states


def results_of(record):
    return record.status, record.step, record.final, record.hashes, record.parameters


def test_a_kill_at_any_moment_of_a_save_changes_no_result(tiny, trained, digits, tmp_path, monkeypatch):
    study = tiny(grid={"network": ["plain"]}, recipe={"steps": 2}, evaluate={"every": 2, "log_every": 1})
    run = next(study.runs())
    few = {name: getattr(digits, name)[:32] for name in ("train_x", "train_y", "test_x", "test_y")}
    images = replace(digits, **few)
    with monkeypatch.context() as patch:
        states = watched(tmp_path / "whole" / run.run_id, patch)
        whole, store = trained(run, images, folder="whole", mode=OFTEN)
    interrupted = {frozenset(name for name in state if not name.endswith(PART)) for state in states}
    assert {"checkpoint.before.pt", "history.parquet", "layers.parquet", "run.json"} in interrupted
    names = {name.split(".")[1] for state in states for name in state if name.endswith(PART)}
    assert names >= {"checkpoint", "history", "layers", "predictions", "run"}
    for number, state in enumerate(state for state in states if "checkpoint.before.pt" in state):
        folder = tmp_path / f"killed-{number}" / run.run_id
        folder.mkdir(parents=True)
        for name, content in state.items():
            (folder / name).write_bytes(content)
        notes = []
        after = RunStore(folder)
        if not after.is_finished():  # else it is not trained again
            trained(run, images, folder=f"killed-{number}", mode=OFTEN, emit=notes.append)
        assert results_of(after.read()) == results_of(whole)
        for name in ("history", "layers", "predictions"):
            pd.testing.assert_frame_equal(after.frame(name), store.frame(name), check_exact=True)
        assert after.is_finished()
        after.remove_left_checkpoint()  # as the next command does
        assert not list(folder.glob("checkpoint*"))
        assert not any("damaged" in note.text for note in notes if isinstance(note, Note))
