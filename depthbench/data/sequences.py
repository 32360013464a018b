"""Sequences of tokens with a class each, or with the token that follows each position."""

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np

from depthbench.data.images import chance_error, split
from depthbench.data.labelled import Labelled
from depthbench.errors import BadInput
from depthbench.networks.task import Task


@dataclass(frozen=True, eq=False)  # compared by identity, so that it can be a key
class Sequences(Labelled):
    """Labelled sequences. N sequences of T tokens, each a number below the size of the vocabulary.

    The labels are a class of each sequence (N,) or, for next-token prediction, the token that follows each
    position (N, T). The classes are then the tokens themselves."""

    name: str
    train_x: np.ndarray  # (N, T) unsigned or int32
    train_y: np.ndarray  # (N,) int64 or (N, T) of the type of train_x
    test_x: np.ndarray
    test_y: np.ndarray
    vocabulary: tuple[str, ...]  # token -> what it stands for
    classes: tuple[str, ...]
    unit: Literal["characters", "bytes", "symbols"] = "characters"
    """What a token is, as a plural."""
    val_x: np.ndarray | None = None
    val_y: np.ndarray | None = None
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # messages for the user before training starts

    noun = "sequences"
    flips = False
    white = 0  # of images only

    @property
    def is_next(self) -> bool:
        """Whether the labels are the next tokens."""
        return self.train_y.ndim == 2

    @property
    def task(self) -> Task:
        """What a network for these sequences reads and predicts."""
        shape = (int(self.train_x.shape[1]),)
        return Task(shape, len(self.classes), vocabulary=len(self.vocabulary), is_next=self.is_next)

    @property
    def predicts(self) -> str | None:
        """What is predicted instead of a class of each sequence, e.g. `next characters`. None: the class."""
        return f"next {self.unit}" if self.is_next else None

    @property
    def chance_error(self) -> float:
        """The error (percent) of an answer that does not look at the sequence.

        For classes, this is a guess. For next tokens, it is always the most common token of the training set,
        and the error is measured on the test set."""
        if not self.is_next:
            return chance_error(len(self.classes))
        most_common = np.bincount(self.train_y.ravel()).argmax()
        return float(100 * (self.test_y != most_common).mean())

    def content_hash(self) -> str:
        """Return the sha256 of every token and label, of their split and of the vocabulary."""
        names = "\0".join((self.unit, *self.vocabulary, "", *self.classes))
        return hashlib.sha256(f"{super().content_hash()}{names}".encode()).hexdigest()

    def draw(self, size: float | int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw `size` of the training sequences at random, and each class in proportion if there are classes.

        Returns indices (others, drawn)."""
        if not self.is_next:
            return split(self.train_y, size, seed, self.classes, noun=self.noun)
        count = self._count(size)
        order = np.random.default_rng(seed).permutation(len(self.train_x))
        return np.sort(order[count:]), np.sort(order[:count])

    def hold_out(self, size: float | int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Choose `size` of the training sequences for validation. Returns indices (kept, held out).

        For next tokens, these are the last ones, so that the text of the two parts does not interleave."""
        if not self.is_next:
            return self.draw(size, seed)
        kept = len(self.train_x) - self._count(size)
        return np.arange(kept), np.arange(kept, len(self.train_x))

    def _count(self, size: float | int) -> int:
        """Return how many sequences `size` means. Raises BadInput if it leaves none on either side."""
        count = round(size * len(self.train_x)) if isinstance(size, float) else size
        if not 0 < count < len(self.train_x):
            raise BadInput(
                f"cannot split {size} off {len(self.train_x)} sequences: each part needs at least one"
            )
        return count


def smallest_type(vocabulary: int) -> np.dtype:
    """Return the smallest type for tokens below `vocabulary` that torch can index."""
    return np.dtype(np.uint8 if vocabulary <= 256 else np.int32)


def windows(tokens: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut tokens (L,) into windows that do not overlap. Returns them and their next tokens, (N, length) each.

    N = (L - 1) // length. The rest at the end is not used."""
    count = (len(tokens) - 1) // length
    x, y = (tokens[first : first + count * length].reshape(count, length) for first in (0, 1))
    return x, np.ascontiguousarray(y)
