"""Tell text from images by the names of files."""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from depthbench.data.listing import SUFFIXES

TEXTS = (".txt", ".text", ".md", ".rst")
TABLES = {".csv": ",", ".tsv": "\t"}
"""Suffix of a table of labels and texts -> what separates its columns."""
MOST_FILES = 200  # of a folder, whose names are looked at


def is_text(path: Path) -> bool:
    """Return whether `path` is a file that is no image, or a folder with text files and no images.

    Only the first MOST_FILES files of a folder count. Returns False if the path cannot be read."""
    try:
        if path.is_file():
            return path.suffix.lower() not in SUFFIXES
        suffixes = {file.suffix.lower() for file in islice(files_below(path), MOST_FILES)}
    except OSError:
        return False
    return not suffixes & SUFFIXES and bool(suffixes & {*TEXTS, *TABLES})


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the files below `folder` in an order that is the same on every machine, without hidden ones."""
    for path, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(path, name) for name in sorted(names) if not name.startswith("."))
