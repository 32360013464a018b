import pytest
import torch

from depthbench.training import checkpoint


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "checkpoint.pt"
    for step in (1, 2):
        checkpoint.save(path, {"run_id": "a", "step": step, "weights": torch.arange(1000.0)})
    return path


def test_the_newest_checkpoint_is_read(path):
    state, note = checkpoint.load(path, "a")
    assert (state["step"], note) == (2, None)
    assert torch.equal(state["weights"], torch.arange(1000.0))


def test_a_broken_checkpoint_falls_back_to_the_previous_one(path):
    path.write_bytes(path.read_bytes()[:-500])
    state, note = checkpoint.load(path, "a")
    assert state["step"] == 1
    assert note.startswith("checkpoint.pt cannot be read")
    assert note.endswith("resuming from step 1")


def test_two_broken_checkpoints_restart_the_run(path):
    for file in path.parent.iterdir():
        file.write_bytes(b"")
    state, note = checkpoint.load(path, "a")
    assert state is None
    assert note.endswith("starting from step 0")


def test_the_state_of_another_run_is_never_used(path):
    state, note = checkpoint.load(path, "b")
    assert state is None
    assert "belongs to another run" in note


def test_no_checkpoint_gives_no_message(tmp_path):
    assert checkpoint.load(tmp_path / "checkpoint.pt", "a") == (None, None)


def test_removing_checkpoints_leaves_no_file(path):
    checkpoint.remove(path)
    assert list(path.parent.iterdir()) == []
