"""numpy arrays as tensors that share their memory, and images chosen from a set."""

from typing import Any

import numpy as np
import torch
from torch import Tensor


def as_tensor(array: np.ndarray) -> Tensor:
    """Return `array` as a tensor, without a copy. Never write to the tensor of a read-only array."""
    return torch.from_numpy(array if array.flags.writeable else np.asarray(_Writable(array)))


def chosen(x: Any, indices: np.ndarray) -> Any:
    """Return the images or labels of `x` at `indices` (n,), where `x` has them: on its device or in files."""
    return x[torch.from_numpy(indices).to(x.device)] if isinstance(x, Tensor) else x.choose(indices)


class _Writable:
    """A view of `array` that claims to be writable.

    Torch has no read-only tensors and warns at the first read-only array. We only read images."""

    def __init__(self, array: np.ndarray):
        self.array = array
        self.__array_interface__ = array.__array_interface__ | {"data": (array.ctypes.data, False)}
