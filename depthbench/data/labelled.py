"""What training needs of a data set, whatever its inputs are: images or sequences of tokens."""

import hashlib
from typing import Any, ClassVar

import numpy as np

from depthbench.data.files import Files
from depthbench.networks.task import Task

HASH_CHUNK = 4096  # inputs read at once to hash them


class Labelled:
    """A labelled data set and its splits. `Images` and `Sequences` are the two kinds.

    Inputs are arrays whose first axis counts them, or objects that can be indexed like one. Labels are
    arrays."""

    name: str
    train_x: Any
    train_y: np.ndarray
    test_x: Any
    test_y: np.ndarray
    val_x: Any
    val_y: np.ndarray | None
    classes: tuple[str, ...]
    vocabulary: tuple[str, ...]
    """What each token stands for. Empty for images."""
    flips: bool
    skipped: tuple[str, ...]
    notes: tuple[str, ...]
    white: int

    noun: ClassVar[str]
    """What the inputs are called, as a plural."""

    @property
    def task(self) -> Task:
        """What a network for this data set reads and predicts."""
        raise NotImplementedError

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of an input."""
        return self.task.shape

    @property
    def predicts(self) -> str | None:
        """What is predicted instead of a class of each input, e.g. `next characters`. None: the class."""
        return None

    @property
    def inputs(self) -> list[Any]:
        """The training, test and, if there are any, validation inputs."""
        return [x for x in (self.train_x, self.test_x, self.val_x) if x is not None]

    @property
    def chance_error(self) -> float:
        """The error (percent) of an answer that does not look at the input."""
        raise NotImplementedError

    def content_hash(self) -> str:
        """Return the sha256 of every input and label and of their split.

        For images that stay in files, it covers the names and sizes of all files and the bytes of some."""
        digest = hashlib.sha256()
        for array in (self.train_x, self.train_y, self.val_x, self.val_y, self.test_x, self.test_y):
            if array is not None:
                digest.update(f"{array.dtype}{array.shape}".encode())
                if isinstance(array, Files):
                    digest.update(array.content_hash())
                    continue
                for start in range(0, len(array), HASH_CHUNK):
                    digest.update(np.ascontiguousarray(array[start : start + HASH_CHUNK]).data)
        return digest.hexdigest()

    def draw(self, size: float | int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw `size` (a fraction or a number) of the training inputs at random, determined by `seed`.

        Returns indices (others, drawn). Raises BadInput if that is impossible."""
        raise NotImplementedError

    def hold_out(self, size: float | int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Choose the training inputs that become validation inputs, like `draw`."""
        return self.draw(size, seed)
