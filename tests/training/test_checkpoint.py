import errno
import hashlib
import io
import os
import random
from types import SimpleNamespace

import pytest
import torch

from depthbench.training import checkpoint
from depthbench.training.checkpoint import Unusable

WEIGHTS = torch.arange(1000.0)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "checkpoint.pt"
    for step in (1, 2):
        checkpoint.save(path, {"run_id": "a", "step": step, "weights": WEIGHTS})
    return path


def restored(path, run_id="a", refuses=()):
    """Return the state that was used, None without one, and the note. Steps in `refuses` do not fit."""
    used = []

    def use(state):
        if state["step"] in refuses:
            raise Unusable("does not fit the run (KeyError)")
        used.append(state)

    note = checkpoint.restore(path, run_id, use)
    return (used[0] if used else None), note


def test_the_newest_checkpoint_is_read(path):
    state, note = restored(path)
    assert (state["step"], note) == (2, None)
    assert torch.equal(state["weights"], WEIGHTS)


def test_torch_reads_a_checkpoint(path):
    assert torch.load(path, weights_only=True)["step"] == 2


def test_a_checkpoint_of_an_older_version_has_no_digest(path):
    torch.save({"run_id": "a", "step": 7}, path)
    assert restored(path)[0]["step"] == 7


def test_a_broken_checkpoint_falls_back_to_the_previous_one(path):
    path.write_bytes(path.read_bytes()[:-500])
    state, note = restored(path)
    assert state["step"] == 1
    assert note.startswith("checkpoint.pt cannot be read (")
    assert note.endswith("): resuming from step 1")


def test_no_flipped_bit_changes_a_state(path):
    """Each flip is noticed, or it leaves the state as it was (in the digest's own first bytes)."""
    content, notes = path.read_bytes(), set()
    for bit in random.Random(0).sample(range(8 * len(content)), 200):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        state, note = restored(path)
        notes.add(note)
        assert torch.equal(state["weights"], WEIGHTS)
        assert (state["step"], note is None) in ((1, False), (2, True))
    assert "checkpoint.pt is damaged: resuming from step 1" in notes


@pytest.mark.parametrize("cut", [0, 5, 73])
def test_a_damaged_digest_hides_no_damage(path, cut):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1  # in the weights
    content[-73] ^= 1  # the first byte of the digest
    path.write_bytes(content[: len(content) - cut])
    state, note = restored(path)
    assert (state["step"], torch.equal(state["weights"], WEIGHTS)) == (1, True)
    assert note == "checkpoint.pt is damaged: resuming from step 1"


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_a_directory_or_pipe_in_place_of_a_checkpoint_is_skipped(path, make):
    path.unlink()
    make(path)
    assert restored(path)[0]["step"] == 1
    checkpoint.save(path, {"run_id": "a", "step": 3, "weights": WEIGHTS})
    assert restored(path)[0]["step"] == 3


def test_two_broken_checkpoints_restart_the_run(path):
    for file in path.parent.iterdir():
        file.write_bytes(b"")
    state, note = restored(path)
    assert state is None
    assert note.endswith("starting from step 0")


def test_a_state_that_does_not_fit_falls_back_to_the_previous_one(path):
    state, note = restored(path, refuses=[2])
    assert state["step"] == 1
    assert note == "checkpoint.pt does not fit the run (KeyError): resuming from step 1"
    state, note = restored(path, refuses=[1, 2])
    assert state is None
    assert note.endswith("checkpoint.before.pt does not fit the run (KeyError): starting from step 0")


def test_what_is_no_checkpoint_is_not_used(path):
    content = io.BytesIO()
    torch.save([1, 2], content)
    path.write_bytes(content.getvalue())
    assert restored(path)[1] == "checkpoint.pt is not a checkpoint: resuming from step 1"


class Malicious:
    """A state that would create a file when it is unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.system, (f"touch '{self.trace}'",)


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("has_digest", [True, False])
def test_a_checkpoint_cannot_execute_code(path, tmp_path, is_zip, has_digest):
    state = {"run_id": "a", "step": 3, "weights": Malicious(tmp_path / "executed")}
    torch.save(state, path, _use_new_zipfile_serialization=is_zip)
    if has_digest:
        digest = checkpoint.DIGEST % hashlib.sha256(path.read_bytes()).hexdigest().encode()
        path.write_bytes(path.read_bytes() + digest)
    used, note = restored(path)
    assert used["step"] == 1
    assert note == "checkpoint.pt cannot be read (UnpicklingError): resuming from step 1"
    assert not (tmp_path / "executed").exists()
    torch.load(path, weights_only=False)
    assert (tmp_path / "executed").exists()  # the file was a threat


def test_the_state_of_another_run_is_never_used(path):
    state, note = restored(path, "b")
    assert state is None
    assert "belongs to another run" in note


def test_no_checkpoint_gives_no_message(tmp_path):
    assert restored(tmp_path / "checkpoint.pt") == (None, None)


def test_removing_checkpoints_leaves_no_file(path):
    checkpoint.remove(path)
    assert list(path.parent.iterdir()) == []


def test_a_kill_while_a_state_is_flushed_leaves_the_backup_of_a_damaged_one(tmp_path, monkeypatch):
    file = tmp_path / "checkpoint.pt"
    for step in (1, 2):
        checkpoint.save(file, {"run_id": "r", "step": step})
    file.write_bytes(b"damaged")

    def kill(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", kill)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(file, {"run_id": "r", "step": 3})
    restored = []
    checkpoint.restore(file, "r", restored.append)
    assert [state["step"] for state in restored] == [1]


@pytest.mark.parametrize("free", [100, 10**9])
def test_a_full_disk_is_named_though_torch_does_not(tmp_path, monkeypatch, free):
    def fail(state, file):
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 165312 vs 165208")

    monkeypatch.setattr(torch, "save", fail)
    monkeypatch.setattr(checkpoint.shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(OSError if free == 100 else RuntimeError) as raised:
        checkpoint.save(path, {"step": 1})
    if free == 100:
        assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(path))
    assert not list(tmp_path.iterdir())
