"""The image files of a folder by split and class, and notes about what is skipped."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from depthbench.errors import BadInput
from depthbench.text import readable

SUFFIXES = {
    *(".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif"),
    *(".webp", ".tif", ".tiff", ".ppm", ".pgm"),
}
SPELLINGS = {
    "train": ("train", "training"),
    "test": ("test", "testing"),
    "val": ("val", "valid", "validation"),
}
"""Names of the folder of each split, in any case."""
NOT_OF_USERS = ("thumbs.db", "desktop.ini")  # files that Windows writes into folders of images
MOST_NAMES = 3  # in a note


@dataclass
class Listing:
    """The images of a folder: `splits` has "train", "test" and maybe "val", or "all" for one to be split.

    Files are in the same order on every machine: by class, then by name."""

    root: Path
    splits: dict[str, list[Path]] = field(default_factory=dict)
    _nested: Counter[str] = field(default_factory=Counter)  # subfolder of a class folder -> images
    _loose: list[str] = field(default_factory=list)  # images outside class folders
    _unread: dict[str, list[str]] = field(default_factory=dict)  # suffix -> files
    _empty: list[str] = field(default_factory=list)  # class folders without images
    _unused: list[str] = field(default_factory=list)  # folders next to those of the splits

    @property
    def notes(self) -> tuple[str, ...]:
        """A line for each kind of file or folder that is skipped: how many, some names, and what to do."""
        notes = []
        if self._empty:
            notes.append(f"no class, because no image is directly in it: {_first(self._empty)}")
        if count := sum(self._nested.values()):
            notes.append(
                f"skipped {_count(count, 'image')} in subfolders of class folders "
                f"({_first(list(self._nested))}): move them into the folder of their class"
            )
        if self._unread:
            most = sorted(self._unread, key=lambda suffix: (-len(self._unread[suffix]), suffix))
            kinds = _first([f"{len(self._unread[suffix]):,} {suffix or 'without suffix'}" for suffix in most])
            count = sum(map(len, self._unread.values()))
            notes.append(
                f"skipped {_count(count, 'file')} in other formats ({kinds}; e.g. "
                f"{self._unread[most[0]][0]}): convert images among them to JPEG or PNG"
            )
        if self._loose:
            notes.append(
                f"skipped {_count(len(self._loose), 'image')} outside class folders "
                f"({_first(self._loose)}): move each into the folder of its class"
            )
        if self._unused:
            notes.append(f"skipped folders that are not a split: {_first(self._unused)}")
        return tuple(notes)

    def error(self, folder: Path, problem: str) -> BadInput:
        """Return a BadInput about `folder`, followed by the notes, which may be its cause."""
        return BadInput("; ".join([f"data folder {readable(str(folder))}{problem}", *self.notes]))

    def shown(self, path: str | Path) -> str:
        """Return the path below the root as it can be printed."""
        return readable(os.path.relpath(path, self.root))

    def add_split(self, name: str, folder: Path) -> None:
        """Add the images in the class folders of `folder`. Raises BadInput if there are none.

        Hidden files and folders, which editors and file managers leave behind, are ignored."""
        files: list[Path] = []
        for entry in _entries(folder):
            if entry.is_dir():
                own = list(self._images_of_class(entry.path))
                files += own
                if not own:
                    self._empty.append(self.shown(entry.path))
            elif _is_image(entry.name):
                self._loose.append(self.shown(entry.path))
        if not files:
            suffixes = ", ".join(sorted(SUFFIXES))
            problem = " contains no images: put the images of each class into a folder of its own"
            raise self.error(folder, f"{problem} ({suffixes})")
        self.splits[name] = sorted(files, key=lambda p: (p.parent.name, p.name))

    def _images_of_class(self, folder: str) -> Iterator[Path]:
        for entry in _entries(folder):
            if entry.is_dir():
                if not (entry.is_symlink() and _contains(entry.path, folder)):
                    self._add_subfolder(entry.path)
            elif _is_image(entry.name):
                yield Path(entry.path)
            else:
                self._add_unread(entry.path)

    def _add_subfolder(self, folder: str) -> None:
        for path, folders, names in os.walk(folder):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            shown = [name for name in sorted(names) if not name.startswith(".")]
            if images := sum(map(_is_image, shown)):
                self._nested[self.shown(path)] += images
            for name in shown:
                if not _is_image(name):
                    self._add_unread(os.path.join(path, name))

    def _add_unread(self, path: str) -> None:
        name = os.path.basename(path)
        if name.lower() not in NOT_OF_USERS:
            suffix = readable(os.path.splitext(name)[1].lower())
            self._unread.setdefault(suffix, []).append(self.shown(path))


def list_images(root: Path) -> Listing:
    """Return the images of the folder `root`.

    Its splits are the folders named as in SPELLINGS, in any case. If there is a folder of validation images
    but none of test images, the former has the test images. Without a folder of training images, the folders
    in `root` are classes. Raises BadInput if folders cannot be read, if one split has two folders, and if a
    split has no image."""
    listing = Listing(root)
    try:
        folders = _split_folders(root)
        if "train" not in folders:
            listing.add_split("all", root)
            return listing
        used = {folder.name for folder in folders.values()}
        listing._unused = [readable(e.name) for e in _entries(root) if e.is_dir() and e.name not in used]
        if len(folders) == 1:
            raise BadInput(
                f"data folder {readable(str(root))} has {readable(folders['train'].name)}/ but neither test/ "
                "nor val/: add one of them"
            )
        if "test" not in folders:
            folders["test"] = folders.pop("val")
        for name, folder in folders.items():
            listing.add_split(name, folder)
    except OSError as error:
        where = readable(os.fsdecode(error.filename or root))
        raise BadInput(
            f"data folder {where} cannot be read ({error.strerror}): check its permissions"
        ) from None
    return listing


def _split_folders(root: Path) -> dict[str, Path]:
    """Return the folder of each split in `root`, in the order of SPELLINGS.

    A folder "train" that has images but no folders is a class, unless another split is there too. It may be
    a class of vehicles. So is a folder of test or validation images beside folders that are no splits."""
    named: dict[str, list[Path]] = {name: [] for name in SPELLINGS}
    for entry in _entries(root):
        for name, spellings in SPELLINGS.items():
            if entry.name.lower() in spellings and entry.is_dir():
                named[name].append(Path(entry.path))
    found = {name: folders for name, folders in named.items() if folders}
    if set(found) == {"train"} and all(map(_is_class, found["train"])):
        return {}
    if "train" not in found:
        present = [entry for entry in _entries(root) if entry.is_dir()]
        are_splits = len(present) == sum(map(len, found.values()))  # `valid` beside `invalid` is not
        children = [child for folder in present for child in _entries(folder.path)]
        if found and are_splits and not any(_is_image(child.name) for child in children):
            names = ", ".join(f"{folder.name}/" for own in found.values() for folder in own)
            raise BadInput(
                f"data folder {readable(str(root))} has {names} but no train/: add the training images"
            )
        return {}
    for name, folders in found.items():
        if len(folders) > 1:
            both = " and ".join(f"{folder.name}/" for folder in folders)
            raise BadInput(
                f"data folder {readable(str(root))} has {both}, which both mean {name}: merge or rename one"
            )
    return {name: folder for name, (folder,) in found.items()}


def _is_class(folder: Path) -> bool:
    entries = _entries(folder)
    return not any(e.is_dir() for e in entries) and any(_is_image(e.name) for e in entries)


def _entries(folder: str | Path) -> list[os.DirEntry[str]]:
    """Return what is in `folder`, sorted, without hidden files."""
    with os.scandir(folder) as entries:
        return sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: e.name)


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES


def _contains(folder: str, other: str) -> bool:
    """Return whether `other` is `folder` or below it, as a link to a parent folder makes it."""
    real, inner = os.path.realpath(folder), os.path.realpath(other)
    return os.path.commonpath([real, inner]) == real


def _first(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s'[: number != 1]}"
