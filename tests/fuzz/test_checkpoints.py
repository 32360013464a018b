"""A damaged checkpoint is refused, or holds exactly the state that was saved."""

import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from depthbench.training import checkpoint
from depthbench.training.checkpoint import HAS_DIGEST
from tests.fuzz.values import damaged, examples


def state_of(step):
    """Return a small state with each kind of value that a run has."""
    return {
        "run_id": "a",
        "step": step,
        "network": {"weight": torch.arange(60.0).reshape(3, 20) * step, "count": torch.tensor(step)},
        "optimizer": {"state": {0: {"momentum_buffer": torch.ones(5) / step}}, "param_groups": [{"lr": 0.1}]},
        "rows": [{"step": 1, "loss": 2.5, "batch_hash": "abc"}],
        "generators": {"batches": torch.arange(step, dtype=torch.uint8)},
        "seconds": 1.5,
        "best": None,
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("checkpoints")


def saved(step):
    """Return the bytes of a checkpoint."""
    with tempfile.TemporaryDirectory() as made:
        checkpoint.save(Path(made) / "checkpoint.pt", state_of(step))
        return (Path(made) / "checkpoint.pt").read_bytes()


FIRST, SECOND = saved(11), saved(12)


def same(one, other):
    """Return whether two states are equal, bit for bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return (
            isinstance(other, dict)
            and one.keys() == other.keys()
            and all(same(one[k], other[k]) for k in one)
        )
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


def restored(folder, files):
    """Return the state that is restored from the newest and the previous checkpoint, and the note."""
    path = folder / "checkpoint.pt"
    for file, content in zip((path, path.with_suffix(".before.pt")), files, strict=True):
        file.write_bytes(content)
    used = []
    note = checkpoint.restore(path, "a", used.append)
    return (used[0] if used else None), note


@examples(short=100, long=10_000)
@given(newest=damaged(SECOND, FIRST), previous=st.just(FIRST) | damaged(FIRST, SECOND))
def test_a_damaged_checkpoint_is_refused_or_is_the_state_that_was_saved(folder, newest, previous):
    state, note = restored(folder, (newest, previous))
    if state is None:
        assert note.endswith("starting from step 0")
        return
    assert state["step"] in (11, 12)
    assert same(state, state_of(state["step"]) | {HAS_DIGEST: True})
    if previous == FIRST and note is not None:
        assert note.endswith("resuming from step 11")


def test_undamaged_checkpoints_are_restored(folder):
    state, note = restored(folder, (SECOND, FIRST))
    assert same(state, state_of(12) | {HAS_DIGEST: True})
    assert note is None
