import pytest
import torch

from depthbench.errors import BadInput
from depthbench.training.weights import Weights, read_weights, save_weights

NETWORK = {"a.weight": torch.arange(6.0).reshape(2, 3).T, "count": torch.tensor(3)}
INPUTS = {"mean": torch.zeros(1, 1, 1)}


def test_weights_are_read_as_they_were_written(tmp_path):
    file = tmp_path / "weights.safetensors"
    digest = save_weights(file, Weights(NETWORK, INPUTS, {"step": 7, "classes": ["cat", "dög"]}))
    read = read_weights(file, digest)
    assert read.network.keys() == NETWORK.keys()
    assert all(torch.equal(read.network[name], tensor) for name, tensor in NETWORK.items())
    assert torch.equal(read.inputs["mean"], INPUTS["mean"])
    assert (read.facts["step"], read.facts["classes"]) == (7, ["cat", "dög"])


def test_a_tensor_with_two_names_is_stored_for_each_and_extra_state_is_left_out(tmp_path):
    shared = torch.ones(2)
    file = tmp_path / "weights.safetensors"
    save_weights(file, Weights({"a": shared, "b": shared, "extra": {"x": 1}}, {}, {}))
    assert {name: tensor.tolist() for name, tensor in read_weights(file).network.items()} == {
        "a": [1, 1],
        "b": [1, 1],
    }


@pytest.mark.parametrize("content", [b"", b"not weights", b"\xff" * 100])
def test_a_damaged_file_is_one_line(tmp_path, content):
    file = tmp_path / "weights.safetensors"
    file.write_bytes(content)
    with pytest.raises(BadInput, match="is not a file of weights"):
        read_weights(file)


def test_a_missing_and_a_changed_file_are_one_line(tmp_path):
    file = tmp_path / "weights.safetensors"
    with pytest.raises(BadInput, match="cannot be read"):
        read_weights(file)
    save_weights(file, Weights(NETWORK, {}, {}))
    with pytest.raises(BadInput, match="not the file that the run wrote"):
        read_weights(file, "0" * 64)


def test_a_file_of_another_program_or_version_is_one_line(tmp_path):
    from safetensors.torch import save_file

    file = tmp_path / "weights.safetensors"
    save_file({"a": torch.ones(1)}, file)
    with pytest.raises(BadInput, match="depthbench did not write it"):
        read_weights(file)
    save_file({"a": torch.ones(1)}, file, {"depthbench": '{"format": 99}'})
    with pytest.raises(BadInput, match="has the format 99"):
        read_weights(file)
