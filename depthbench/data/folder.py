"""Folders of images: train/ with test/, val/ or both, or one folder that is split here.

Each class is a folder named after it (listing.py). Images are decoded once and kept in the data directory as
arrays that every process maps. Many runs therefore decode them once and share one copy, and images may exceed
the memory. If they exceed the disk too, they can stay in their files and be decoded as they are read
(files.py)."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import filelock
import numpy as np

from depthbench.data.decoding import Unreadable, decode
from depthbench.data.files import Files
from depthbench.data.images import Images, split
from depthbench.data.listing import list_images
from depthbench.data.mapped import Mapped
from depthbench.data.settings import Data
from depthbench.errors import BadInput
from depthbench.paths import expand
from depthbench.text import readable

if TYPE_CHECKING:
    from PIL.Image import Image

DECODER = 2  # increased when the decoded pixels would change, so that old arrays are not used
CHUNK = 500  # images decoded at once and kept in memory until they are written

Report = Callable[[int, int], None]  # called with the number of decoded images and of all images


def load(data: Data, data_dir: Path, report: Report = lambda done, total: None) -> Images:
    """Return the images below `data.path`, as RGB.

    Raises BadInput if the folder is missing or empty, if it has only one class, or if its classes differ
    between train and test. Images of several sizes need data.image_size, and unreadable images need
    data.skip_bad_images. If images are decoded as they are read, only empty files and broken links are
    detected here."""
    assert data.path is not None
    root = expand(data.path)
    if root.is_file():
        raise BadInput(f'data folder {root} is a file: name a folder of images, or set data.kind = "text"')
    if not root.is_dir():
        raise BadInput(f"data folder {root} does not exist: name another with --data")
    listing = list_images(root)
    splits = listing.splits
    folders = sorted({p.parent.name for files in splits.values() for p in files})
    classes = tuple(readable(folder) for folder in folders)
    if len(classes) < 2:
        raise listing.error(root, f" has only one class ({classes[0]!r}): add a second class")
    if len(set(classes)) < len(classes):
        double = next(name for name in classes if classes.count(name) > 1)
        raise BadInput(
            f"data folder {root}: several classes are shown as {double!r}, because the bytes of their names "
            "are not UTF-8; rename their folders"
        )
    files = [file for split_files in splits.values() for file in split_files]
    images: Files | Mapped
    if data.decode == "as_read":
        assert data.image_size is not None  # Data requires it
        images = Files.of(root, files, data.image_size)
        bad = np.flatnonzero(images.sizes == 0)
    else:
        images, bad = _load_decoded(files, data, data_dir, report)
    if len(bad) and not data.skip_bad_images:
        shown = ", ".join(readable(str(files[i].relative_to(root))) for i in bad[:5])
        more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
        raise BadInput(
            f"data folder {root}: {len(bad)} of {len(files)} images cannot be read ({shown}{more}): "
            "replace or remove them, or pass --skip-bad-images"
        )
    good = np.setdiff1d(np.arange(len(files)), bad)
    if len(good) == 0:
        raise BadInput(f"data folder {root}: none of its {len(files)} images can be read: replace them")
    label = {name: index for index, name in enumerate(folders)}
    labels = np.array([label[file.parent.name] for file in files], dtype=np.int64)
    if "all" in splits:
        try:
            parts = split(labels[good], data.test_fraction, data.split_seed, classes)
        except BadInput as error:
            raise BadInput(f"data.test_fraction = {data.test_fraction}: {error}") from None
        train, test = (good[part] for part in parts)
        indices = {"train": train, "test": test}
    else:
        ends = np.cumsum([len(split_files) for split_files in splits.values()])
        indices = {
            name: good[(good >= end - len(split_files)) & (good < end)]
            for (name, split_files), end in zip(splits.items(), ends, strict=True)
        }
    for name, chosen in indices.items():
        if missing := sorted(set(range(len(classes))) - set(labels[chosen])):
            problem = f": class {classes[missing[0]]!r} has no readable image in {name}"
            remedy = "add some, or remove the class"
            if "all" in splits:
                count = int((labels[good] == missing[0]).sum())
                problem = f": class {classes[missing[0]]!r} has {count} images, too few for one in {name}"
                remedy = f"add some, remove the class, or change data.test_fraction = {data.test_fraction:g}"
            raise listing.error(root, f"{problem}: {remedy}")
    train, test, val = indices["train"], indices["test"], indices.get("val")
    return Images(
        data.name,
        images.choose(train),
        labels[train],
        images.choose(test),
        labels[test],
        classes,
        flips=True,
        val_x=None if val is None else images.choose(val),
        val_y=None if val is None else labels[val],
        skipped=tuple(readable(str(files[i].relative_to(root))) for i in bad),
        notes=listing.notes,
    )


def _load_decoded(files: list[Path], data: Data, data_dir: Path, report: Report) -> tuple[Mapped, np.ndarray]:
    """Return pixels (N, 3, H, W) uint8, mapped from disk, and the indices of unreadable files.

    Decodes the files unless `data_dir` already has their pixels."""
    key = hashlib.sha256(json.dumps([DECODER, data.image_size, str(files[0].parent.parent)]).encode())
    for file in files:
        status = file.stat() if file.exists() else None  # a link may be broken
        about = status and (status.st_size, status.st_mtime_ns)
        key.update(os.fsencode(f"{file.parent.name}/{file.name} {about}\n"))
    folder = data_dir / "decoded" / key.hexdigest()[:24]
    if not folder.is_dir():
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(f"{folder}.lock"):  # if two studies start at once, one decodes
                if not folder.is_dir():
                    _save_decoded(folder, files, data.image_size, report)
        except OSError as error:
            raise BadInput(
                f"data directory {data_dir} cannot be written ({error.strerror}): name another --data-dir"
            ) from None
    return Mapped(np.load(folder / "x.npy", mmap_mode="r")), np.load(folder / "bad.npy")


def _save_decoded(folder: Path, files: list[Path], size: int | None, report: Report) -> None:
    """Decode `files` to `folder`, which appears only when it is complete."""
    temporary = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)  # left by a process that was killed
    temporary.mkdir()
    try:
        np.save(temporary / "bad.npy", _decode(files, size, temporary / "x.npy", report))
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _decode(files: list[Path], size: int | None, path: Path, report: Report) -> np.ndarray:
    """Write the pixels (N, 3, H, W) of `files` to the .npy file `path`. Return indices of unreadable files.

    The pixels of unreadable files are zeros. Raises BadInput if images differ in size. The file is written,
    not mapped, so that a full disk raises an error instead of killing the process."""
    shape, bad = None, []
    with path.open("wb") as out:
        for i, pixels in enumerate(_read(files, size)):
            if i % CHUNK == 0:
                report(i, len(files))
            if pixels is None:
                bad.append(i)
                continue
            if shape is None:
                shape, first = pixels.shape, files[i]
                begin = _write_header(out, (len(files), *shape))
            if pixels.shape != shape:
                sizes = [
                    f"{readable(file.name)} {w}x{h}"
                    for file, (_, h, w) in ((first, shape), (files[i], pixels.shape))
                ]
                raise BadInput(f"the images differ in size ({', '.join(sizes)}): add --image-size PIXELS")
            out.seek(begin + i * pixels.size)
            out.write(pixels.tobytes())
        if shape is None:
            shape = (3, 1, 1)
            begin = _write_header(out, (len(files), *shape))
        out.truncate(begin + len(files) * int(np.prod(shape)))
    report(len(files), len(files))
    return np.array(bad, dtype=np.int64)


def _write_header(out: BinaryIO, shape: tuple[int, ...]) -> int:
    """Write the header of a .npy file of bytes. Returns the offset at which the bytes begin."""
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.uint8)), "fortran_order": False}
    np.lib.format.write_array_header_1_0(out, header | {"shape": shape})
    return out.tell()


def _read(files: list[Path], size: int | None) -> Iterator[np.ndarray | None]:
    """Yield the pixels (3, H, W) of each file, or None if it cannot be read. Decodes several at once."""

    def read(file: Path) -> np.ndarray | None:
        try:
            return _fitted(decode(file), size)
        except Unreadable:
            return None

    with ThreadPoolExecutor() as pool:
        for start in range(0, len(files), CHUNK):
            yield from pool.map(read, files[start : start + CHUNK])


def _fitted(image: "Image", size: int | None) -> np.ndarray:
    """Return pixels (3, H, W). With a size, scale the shorter side to it and crop the middle."""
    if size is not None and image.size != (size, size):
        from PIL import ImageOps

        image = ImageOps.fit(image, (size, size))
    return np.asarray(image).transpose(2, 0, 1)
