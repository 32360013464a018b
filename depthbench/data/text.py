"""Text as tokens: characters or bytes, as windows for next-token prediction or as one sequence per text.

Text comes from files (text_files.py) or from Python's documentation (pydoc.py)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np

from depthbench.data.images import split
from depthbench.data.sequences import Sequences, smallest_type, windows
from depthbench.data.settings import Data
from depthbench.errors import BadInput

NEXT_LENGTH, CLASS_LENGTH = 128, 256
"""Tokens of a sequence, unless data.length is set."""
PADDING = "(end)"
"""The token that fills up a text which is shorter than the sequence."""
FEWEST_WINDOWS = 2  # of each part


class Alphabet:
    """The tokens of texts: their characters, sorted, or all 256 bytes."""

    def __init__(self, texts: Iterable[str], unit: Literal["characters", "bytes"]):
        self.unit = unit
        if unit == "bytes":
            self.names = tuple(f"0x{byte:02x}" for byte in range(256))
            return
        self.names = tuple(sorted(set().union(*texts)))
        self._points = np.array([ord(each) for each in self.names], dtype=np.uint32)

    def encode(self, text: str) -> np.ndarray:
        """Return the tokens of a text, (L,)."""
        if self.unit == "bytes":
            return np.frombuffer(text.encode(), np.uint8)
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
        return np.searchsorted(self._points, points).astype(smallest_type(len(self.names)))


def next_tokens(data: Data, parts: Mapping[str, str], where: str, notes: tuple[str, ...] = ()) -> Sequences:
    """Return windows of texts for next-token prediction.

    parts: "train" and "test", with or without "val", or "all" for one text, the end of which becomes the test
    set. where: the name of the text in messages. Raises BadInput if a part is too short."""
    unit, length = data.tokens or "characters", data.length or NEXT_LENGTH
    alphabet = Alphabet(parts.values(), unit)
    tokens = {name: alphabet.encode(text) for name, text in parts.items()}
    if "all" in tokens:
        whole = tokens.pop("all")
        first = round(len(whole) * (1 - data.test_fraction))
        tokens = {"train": whole[:first], "test": whole[first:]}
    shortest = min(tokens, key=lambda name: len(tokens[name]))
    if len(tokens[shortest]) <= FEWEST_WINDOWS * length:
        longest = (len(tokens[shortest]) - 1) // FEWEST_WINDOWS
        advice = f"set data.length to at most {longest}, or add text" if longest >= 2 else "add text"
        raise BadInput(
            f"{where}: the {shortest} part has {len(tokens[shortest]):,} {unit}, too few for "
            f"{FEWEST_WINDOWS} sequences of {length}; {advice}"
        )
    cut = {name: windows(part, length) for name, part in tokens.items()}
    return Sequences(
        data.name,
        *cut["train"],
        *cut["test"],
        vocabulary=alphabet.names,
        classes=alphabet.names,
        unit=unit,
        val_x=cut["val"][0] if "val" in cut else None,
        val_y=cut["val"][1] if "val" in cut else None,
        notes=notes,
    )


def classified(
    data: Data,
    parts: Mapping[str, Sequence[tuple[str, int]]],
    classes: tuple[str, ...],
    notes: tuple[str, ...] = (),
) -> Sequences:
    """Return texts with a class each, cut to or filled up to the same length.

    parts: lists of (text, class) by name, as in `next_tokens`. Raises BadInput if a part cannot be split."""
    unit, length = data.tokens or "characters", data.length or CLASS_LENGTH
    alphabet = Alphabet((text for part in parts.values() for text, _ in part), unit)
    padding, vocabulary = len(alphabet.names), (*alphabet.names, PADDING)
    arrays = {}
    for name, part in parts.items():
        x = np.full((len(part), length), padding, smallest_type(len(vocabulary)))
        for row, (text, _) in zip(x, part, strict=True):
            tokens = alphabet.encode(text[:length])[:length]
            row[: len(tokens)] = tokens
        arrays[name] = x, np.array([label for _, label in part], dtype=np.int64)
    if "all" in arrays:
        x, y = arrays.pop("all")
        try:
            train, test = split(y, data.test_fraction, data.split_seed, classes, noun="texts")
        except BadInput as error:
            raise BadInput(f"data.test_fraction = {data.test_fraction}: {error}") from None
        arrays = {"train": (x[train], y[train]), "test": (x[test], y[test])}
    return Sequences(
        data.name,
        *arrays["train"],
        *arrays["test"],
        vocabulary=vocabulary,
        classes=classes,
        unit=unit,
        val_x=arrays["val"][0] if "val" in arrays else None,
        val_y=arrays["val"][1] if "val" in arrays else None,
        notes=notes,
    )
