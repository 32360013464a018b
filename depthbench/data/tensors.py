"""numpy arrays as tensors that share their memory."""

import numpy as np
import torch
from torch import Tensor


def as_tensor(array: np.ndarray) -> Tensor:
    """`array` as a tensor, without a copy. To one of a read-only array, nothing may be written."""
    return torch.from_numpy(array if array.flags.writeable else np.asarray(_Writable(array)))


class _Writable:
    """Says that `array` can be written. Torch has no read-only tensors, and warns of that at the first such
    array; ours are images, which are only read."""

    def __init__(self, array: np.ndarray):
        self.array = array
        self.__array_interface__ = array.__array_interface__ | {"data": (array.ctypes.data, False)}
