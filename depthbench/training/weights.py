"""The weights of a network in a file (safetensors), with what is needed to use them.

The file holds the tensors of the network's state by name, and those by which images are scaled. Its metadata
say which network it is. Reading it executes no code."""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from depthbench.errors import BadInput
from depthbench.files import atomic

FORMAT = 1
METADATA = "depthbench"
INPUT = "depthbench.input."
"""Prefix of the names of tensors that scale images."""


class Weights(NamedTuple):
    """The content of a file of weights."""

    network: dict[str, Tensor]
    """The state of the network, for `load_state_dict`."""
    inputs: dict[str, Tensor]
    """mean and scale, (C, H, W), (C, 1, 1) or (1, 1, 1): the network reads (pixels - mean) * scale. Empty if
    it does not read images."""
    facts: dict[str, Any]
    """run_id, step, classes, image_shape, and run, the settings of the run. For a network that reads tokens,
    vocabulary says what each token stands for."""


def save_weights(path: Path, weights: Weights) -> str:
    """Write a file of weights, and return its SHA-256.

    A tensor with several names is stored once for each. Values of the state that are not tensors are left
    out. Raises ValueError for a tensor that such files cannot hold."""
    named = {**weights.network, **{f"{INPUT}{name}": tensor for name, tensor in weights.inputs.items()}}
    tensors = {
        name: tensor.detach().cpu().contiguous().clone()
        for name, tensor in named.items()
        if isinstance(tensor, Tensor)
    }
    metadata = {METADATA: json.dumps({"format": FORMAT, **weights.facts})}
    with atomic(path) as temporary:
        try:
            save_file(tensors, temporary, metadata)
        except (KeyError, TypeError, SafetensorError) as error:
            raise ValueError(f"a file of weights cannot hold them ({error})") from None
        return hashlib.sha256(temporary.read_bytes()).hexdigest()


def read_weights(path: Path, sha256: str | None = None) -> Weights:
    """Return the content of a file of weights, on the CPU.

    Raises BadInput if it is missing, damaged, of another version, or not the file with this SHA-256."""
    try:
        if sha256 is not None and hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            raise BadInput(f"{path} is not the file that the run wrote: train the run again")
        with safe_open(path, "pt") as file:
            facts = json.loads((file.metadata() or {})[METADATA])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror or error})") from None
    except (KeyError, ValueError, SafetensorError) as error:
        reason = "depthbench did not write it" if isinstance(error, KeyError) else error
        raise BadInput(f"{path} is not a file of weights ({reason})") from None
    if facts.get("format") != FORMAT:
        raise BadInput(f"{path} has the format {facts.get('format')}, and this version reads {FORMAT}")
    inputs = {name.removeprefix(INPUT): tensors.pop(name) for name in [*tensors] if name.startswith(INPUT)}
    return Weights(tensors, inputs, facts)
