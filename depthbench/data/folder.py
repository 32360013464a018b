"""Any folder of images: train/ and test/, val/ or both; or one folder that is split here.

Each class is a folder of that name. Images are decoded once, and kept in the data folder as arrays that
every process maps, so that 18 runs do not decode them 18 times, nor hold them 18 times in memory; there may
be more of them than memory holds. Where the disk could not hold them either, they stay as they are and are
decoded as they are read (files.py)."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import filelock
import numpy as np

from depthbench.data.decoding import Unreadable, decode
from depthbench.data.files import Files
from depthbench.data.images import Images, split
from depthbench.data.mapped import Mapped
from depthbench.data.settings import Data
from depthbench.errors import BadInput

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
DECODER = 1  # raised when images would be decoded to other pixels, so that old arrays are not used
CHUNK = 500  # images decoded before the next are begun: what is decoded waits in memory for its turn

Report = Callable[[int, int], None]  # images decoded, images in all


def load(data: Data, data_dir: Path, report: Report = lambda done, total: None) -> Images:
    """The images below `data.path`, as RGB.

    Raises BadInput where the folder is missing, empty, has one class, classes that differ between train
    and test, images of several sizes (unless data.image_size is set), or unreadable images (unless
    data.skip_bad_images is set); where they are decoded as they are read, an empty file and a link that leads
    nowhere are seen here, and others when their turn comes."""
    root = Path(data.path).expanduser()
    if not root.is_dir():
        raise BadInput(f"data folder {root}: there is no such folder: name one with --data")
    parts = _parts(root)
    classes = tuple(sorted({p.parent.name for files in parts.values() for p in files}))
    if len(classes) < 2:
        raise BadInput(f"data folder {root}: it has one class ({classes[0]!r}); at least 2 are needed")
    files = [file for part in parts.values() for file in part]
    if data.decode == "as_read":
        images = Files.of(root, files, data.image_size)
        bad = np.flatnonzero(images.sizes == 0)
    else:
        images, bad = _decoded(files, data, data_dir, report)
    if len(bad) and not data.skip_bad_images:
        shown = ", ".join(str(files[i].relative_to(root)) for i in bad[:5])
        more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
        raise BadInput(
            f"data folder {root}: {len(bad)} of {len(files)} images cannot be read ({shown}{more}): "
            "mend or remove them, or pass --skip-bad-images"
        )
    good = np.setdiff1d(np.arange(len(files)), bad)
    if len(good) == 0:
        raise BadInput(f"data folder {root}: none of its {len(files)} images can be read")
    label = {name: place for place, name in enumerate(classes)}
    labels = np.array([label[file.parent.name] for file in files], dtype=np.int64)
    if "all" in parts:
        halves = split(labels[good], data.test_fraction, data.split_seed)
        places = {name: good[half] for name, half in zip(("train", "test"), halves, strict=True)}
    else:
        ends = np.cumsum([len(part) for part in parts.values()])
        places = {
            name: good[(good >= end - len(part)) & (good < end)]
            for (name, part), end in zip(parts.items(), ends, strict=True)
        }
    for part, indices in places.items():
        if missing := sorted(set(range(len(classes))) - set(labels[indices])):
            raise BadInput(
                f"data folder {root}: class {classes[missing[0]]!r} has no readable image in {part}"
            )
    train, test, val = (places.get(part) for part in ("train", "test", "val"))
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
        skipped=tuple(str(files[i].relative_to(root)) for i in bad),
    )


def _parts(root: Path) -> dict[str, list[Path]]:
    """`{"train": files, "test": files}`, with "val" where all three are there; or `{"all": files}` for a
    folder that is to be split. val/ alone beside train/ is what is tested on."""
    parts = {name: _images(root / name) for name in ("train", "test", "val") if (root / name).is_dir()}
    if "train" not in parts:
        parts = {"all": _images(root)}
    elif len(parts) == 1:
        raise BadInput(f"data folder {root}: it has train/ but neither test/ nor val/")
    elif "test" not in parts:
        parts["test"] = parts.pop("val")
    for name, files in parts.items():
        if not files:
            there = (root / folder for folder in (name, "val") if (root / folder).is_dir())
            where = root if name == "all" else next(there)
            raise BadInput(
                f"data folder {where}: no images in it: each class must be a folder of images "
                f"({', '.join(sorted(SUFFIXES))})"
            )
    return parts


def _images(folder: Path) -> list[Path]:
    """The images in the folders of `folder`, in an order that every machine agrees on. Hidden files and
    folders, which editors and file managers leave behind, are none."""
    classes = (c for c in folder.iterdir() if c.is_dir() and not c.name.startswith("."))
    found = (p for c in classes for p in c.iterdir() if p.suffix.lower() in SUFFIXES)
    return sorted((p for p in found if not p.name.startswith(".")), key=lambda p: (p.parent.name, p.name))


def _decoded(files: list[Path], data: Data, data_dir: Path, report: Report) -> tuple[Mapped, np.ndarray]:
    """Pixels (N, 3, H, W) uint8, mapped from disk, and the indices of unreadable files."""
    key = hashlib.sha256(json.dumps([DECODER, data.image_size, str(files[0].parent.parent)]).encode())
    for file in files:
        about = file.stat() if file.exists() else None  # a link may lead nowhere
        about = about and (about.st_size, about.st_mtime_ns)
        key.update(f"{file.parent.name}/{file.name} {about}\n".encode())
    folder = data_dir / "decoded" / key.hexdigest()[:24]
    if not folder.is_dir():
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(f"{folder}.lock"):  # of two studies that start at once, one decodes
                if not folder.is_dir():
                    _keep(folder, files, data.image_size, report)
        except OSError as error:
            raise BadInput(
                f"{data_dir} cannot be written ({error.strerror}): name another --data-dir"
            ) from None
    return Mapped(np.load(folder / "x.npy", mmap_mode="r")), np.load(folder / "bad.npy")


def _keep(folder: Path, files: list[Path], size: int | None, report: Report) -> None:
    """Decode `files` to `folder`, which appears whole or not at all."""
    making = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(making, ignore_errors=True)  # of a process that was killed
    making.mkdir()
    try:
        np.save(making / "bad.npy", _decode(files, size, making / "x.npy", report))
        making.replace(folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _decode(files: list[Path], size: int | None, path: Path, report: Report) -> np.ndarray:
    """Write the pixels of `files` (N, 3, H, W) to `path`, a .npy file, image by image; the indices of those
    that cannot be read, in whose place are zeros. Raises BadInput where they differ in size.

    Written, not mapped: a full disk is then an error, and not the end of the process."""
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
                    f"{file.name} {w}x{h}" for file, (_, h, w) in ((first, shape), (files[i], pixels.shape))
                ]
                raise BadInput(f"images of several sizes ({', '.join(sizes)}): give --image-size PIXELS")
            out.seek(begin + i * pixels.size)
            out.write(pixels.tobytes())
        if shape is None:
            shape = (3, 1, 1)
            begin = _write_header(out, (len(files), *shape))
        out.truncate(begin + len(files) * int(np.prod(shape)))
    report(len(files), len(files))
    return np.array(bad, dtype=np.int64)


def _write_header(out: BinaryIO, shape: tuple[int, ...]) -> int:
    """Begin a .npy file of bytes; where they begin."""
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.uint8)), "fortran_order": False}
    np.lib.format.write_array_header_1_0(out, header | {"shape": shape})
    return out.tell()


def _read(files: list[Path], size: int | None) -> Iterator[np.ndarray | None]:
    """The pixels (3, H, W) of each file, None where it cannot be read; decoded side by side."""

    def read(file: Path) -> np.ndarray | None:
        try:
            return _fitted(decode(file), size)
        except Unreadable:
            return None

    with ThreadPoolExecutor() as pool:
        for start in range(0, len(files), CHUNK):
            yield from pool.map(read, files[start : start + CHUNK])


def _fitted(image, size: int | None) -> np.ndarray:
    """(3, H, W); with a size, the shorter side is scaled to it and the middle is taken."""
    if size is not None and image.size != (size, size):
        from PIL import ImageOps

        image = ImageOps.fit(image, (size, size))
    return np.asarray(image).transpose(2, 0, 1)
