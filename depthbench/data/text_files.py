"""Text in files: one file, a folder of them, or tables of labels and texts.

| `data.path` | read as |
|---|---|
| a text file | one text, for next-token prediction |
| a .csv or .tsv file | a row per text: the label, then the text, as in AG News (Zhang et al. 2015) |
| a folder with train.csv and test.csv (or .tsv) | the same, with a split of its own |
| a folder with a folder for each class | the text files of each class |
| another folder | its text files in the order of their names, as one text |

A folder of text files can have folders train/ and test/ (or val/), as folders of images can."""

import csv
import io
from collections.abc import Collection, Iterator
from pathlib import Path

from depthbench.data.kinds import TABLES, TEXTS, files_below
from depthbench.data.listing import SPELLINGS
from depthbench.data.sequences import Sequences
from depthbench.data.settings import Data
from depthbench.data.text import classified, next_tokens
from depthbench.errors import BadInput
from depthbench.paths import expand
from depthbench.text import readable

LABEL_HEADINGS = ("label", "labels", "class", "class index", "category", "target", "y")
"""First cells, in lower case, that mark the first row of a table as headings."""


def load(data: Data) -> Sequences:
    """Return the text below `data.path`, split.

    Raises BadInput if it is missing, empty, not UTF-8 or too short, and if there is only one class."""
    assert data.path is not None
    path = expand(data.path)
    if not path.exists():
        raise BadInput(f"data {readable(str(path))} does not exist: name another with --data")
    where = f"data {readable(str(path))}"
    parts = {"all": path} if path.is_file() else _parts_of(path)
    tables = [part for part in parts.values() if part.suffix.lower() in TABLES]
    if tables and data.task == "next":
        raise BadInput(f'{where}: data.task = "next" needs text files, not tables of labels; leave it out')
    if tables:
        return _load_tables(data, parts, where)
    has_classes = all(map(_has_class_folders, parts.values()))
    if data.task is None:  # a file next to the folders of classes has no class
        has_classes = has_classes and not any(map(_files_in, parts.values()))
    if data.task == "classes" and not has_classes:
        raise BadInput(
            f'{where}: data.task = "classes" needs a folder of text files for each class, or a .csv file of '
            "labels and texts"
        )
    if has_classes and data.task != "next":
        return _load_class_folders(data, parts, where)
    texts = {name: "\n".join(map(_read, _texts_in(part, where))) for name, part in parts.items()}
    for name, text in texts.items():
        if not text:
            raise BadInput(f"{readable(str(parts[name]))} is empty: add text")
    return next_tokens(data, texts, where)


def _parts_of(folder: Path) -> dict[str, Path]:
    """Return the files or folders of the splits of a folder; "all" for a folder that is to be split."""
    tables = {
        name: folder / f"{spelling}{suffix}"
        for suffix in TABLES
        for name, spellings in SPELLINGS.items()
        for spelling in spellings
        if (folder / f"{spelling}{suffix}").is_file()
    }
    if tables:
        if missing := sorted({"train", "test"} - tables.keys()):
            raise BadInput(
                f"data folder {readable(str(folder))} has no {missing[0]}.csv next to "
                f"{tables[next(iter(tables))].name}: add it, or name a single file with --data"
            )
        return tables
    others = _files_in(folder, TABLES)
    if len(others) == 1:
        return {"all": others[0]}
    if others:
        raise BadInput(
            f"data folder {readable(str(folder))} has {len(others)} tables ({readable(others[0].name)}, "
            f"{readable(others[1].name)}): name one with --data, or call them train.csv and test.csv"
        )
    splits = {
        name: each
        for name, spellings in SPELLINGS.items()
        for each in _folders_in(folder)
        if each.name.lower() in spellings
    }
    if "train" not in splits:
        return {"all": folder}
    if "test" not in splits and "val" in splits:
        splits["test"] = splits.pop("val")  # as with images
    if "test" not in splits:
        raise BadInput(f"data folder {readable(str(folder))} has train/ but neither test/ nor val/: add one")
    return splits


def _has_class_folders(folder: Path) -> bool:
    """Return whether `folder` has folders, each with text files directly in it."""
    return not folder.is_file() and bool(_folders_in(folder)) and all(map(_files_in, _folders_in(folder)))


def _load_class_folders(data: Data, parts: dict[str, Path], where: str) -> Sequences:
    names = sorted({folder.name for part in parts.values() for folder in _folders_in(part)})
    if len(names) < 2:
        raise BadInput(
            f"{where} has only one class ({readable(names[0])!r}): add a second class, or set "
            'data.task = "next" to predict the next token'
        )
    found: dict[str, list[tuple[str, int]]] = {}
    for part, folder in parts.items():
        found[part] = [
            (_read(file), label)
            for label, name in enumerate(names)
            for file in (_files_in(folder / name) if (folder / name).is_dir() else [])
        ]
        if missing := sorted(set(range(len(names))) - {label for _, label in found[part]}):
            raise BadInput(f"{where}: class {readable(names[missing[0]])!r} has no text in {part}: add some")
    return classified(data, found, tuple(map(readable, names)))


def _load_tables(data: Data, parts: dict[str, Path], where: str) -> Sequences:
    rows = {name: list(_rows_of(file)) for name, file in parts.items()}
    labels = sorted({label for part in rows.values() for label, _ in part}, key=_in_order)
    if len(labels) < 2:
        raise BadInput(f"{where} has only one class ({labels[0]!r}): add texts of a second class")
    for name, part in rows.items():
        if missing := sorted(set(labels) - {label for label, _ in part}, key=_in_order):
            raise BadInput(f"{where}: class {missing[0]!r} has no text in {parts[name].name}: add some")
    number = {label: index for index, label in enumerate(labels)}
    numbered = {name: [(text, number[label]) for label, text in part] for name, part in rows.items()}
    return classified(data, numbered, _names_of(labels, next(iter(parts.values())).parent))


def _rows_of(file: Path) -> Iterator[tuple[str, str]]:
    """Yield the label and the text of each row. Further columns belong to the text, after a space."""
    shown = readable(str(file))
    csv.field_size_limit(2**31 - 1)
    lines = csv.reader(io.StringIO(_read(file), newline=""), delimiter=TABLES[file.suffix.lower()])
    is_first, is_empty = True, True
    try:
        for row in lines:
            if not row:
                continue
            label, text = row[0].strip(), " ".join(row[1:])
            if is_first and label.lower() in LABEL_HEADINGS:
                is_first = False
                continue
            if is_first and any(cell.strip().lower() in LABEL_HEADINGS for cell in row[1:]):
                raise BadInput(f"{shown}: its heading names a label behind the text; put the label first")
            is_first = False
            if not label or not text.strip():
                raise BadInput(
                    f"{shown}, line {lines.line_num} has no {'text' if label else 'label'}: write a label "
                    "and then its text in each row"
                )
            is_empty = False
            yield label, text
    except csv.Error as error:
        raise BadInput(f"{shown}, line {lines.line_num}: {error}") from None
    if is_empty:
        raise BadInput(f"{shown} is empty: add rows of a label and its text")


def _in_order(label: str) -> tuple[int, str]:
    """Return the key by which labels are sorted: whole numbers by their value, then words."""
    return (int(label), "") if label.isdecimal() and len(label) < 10 else (10**9, label)


def _names_of(labels: list[str], folder: Path) -> tuple[str, ...]:
    """Return the names of classes: the lines of classes.txt, if the labels number them, as in AG News."""
    file = folder / "classes.txt"
    if file.is_file() and labels == [str(number) for number in range(1, len(labels) + 1)]:
        names = tuple(line.strip() for line in _read(file).splitlines() if line.strip())
        if len(set(names)) == len(labels):
            return names
    return tuple(labels)


def _texts_in(path: Path, where: str) -> list[Path]:
    if path.is_file():
        return [path]
    files = [file for file in files_below(path) if file.suffix.lower() in TEXTS]
    if not files:
        raise BadInput(
            f"{where} contains no text files ({', '.join(TEXTS)}): add some, or name another folder"
        )
    return files


def _read(file: Path) -> str:
    """Return the text of a file, without a byte order mark. Raises BadInput if it is not UTF-8."""
    try:
        return file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(
            f"{readable(str(file))} is not UTF-8 text (at byte {error.start}): convert it, for example with "
            "iconv"
        ) from None
    except OSError as error:
        raise BadInput(
            f"{readable(str(file))} cannot be read ({error.strerror}): check its permissions"
        ) from None


def _files_in(folder: Path, kinds: Collection[str] = TEXTS) -> list[Path]:
    """Return the text files directly in `folder`, sorted. kinds: their suffixes."""
    files = (file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
    return sorted((file for file in files if file.suffix.lower() in kinds), key=lambda file: file.name)


def _folders_in(folder: Path) -> list[Path]:
    """Return the folders directly in `folder`, sorted, without hidden ones."""
    entries = (each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
    return sorted(entries, key=lambda each: each.name)
