"""Any folder of images: train/ and test/, val/ or both; or one folder that is split here.

Each class is a folder of that name. Images are decoded once, and kept in the data folder as arrays that
every process maps, so that 18 runs do not decode them 18 times."""

import hashlib
import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import filelock
import numpy as np

from depthbench.data.images import Images, split
from depthbench.errors import BadInput
from depthbench.study import Data

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
DECODER = 1  # raised when images would be decoded to other pixels, so that old arrays are not used

Report = Callable[[int, int], None]  # images decoded, images in all


def load(data: Data, data_dir: Path, report: Report = lambda done, total: None) -> Images:
    """The images below `data.path`, as RGB.

    Raises BadInput where the folder is missing, empty, has one class, classes that differ between train
    and test, images of several sizes (unless data.image_size is set), or unreadable images (unless
    data.skip_bad_images is set)."""
    root = Path(data.path).expanduser()
    if not root.is_dir():
        raise BadInput(f"data folder {root}: there is no such folder")
    parts = _parts(root)
    classes = tuple(sorted({p.parent.name for files in parts.values() for p in files}))
    if len(classes) < 2:
        raise BadInput(f"data folder {root}: it has one class ({classes[0]!r}); at least 2 are needed")
    files = [file for part in parts.values() for file in part]
    arrays, bad = _decoded(files, data, data_dir, report)
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
    labels = np.array([classes.index(file.parent.name) for file in files], dtype=np.int64)
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
        arrays[train],
        labels[train],
        arrays[test],
        labels[test],
        classes,
        flips=True,
        val_x=None if val is None else arrays[val],
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


def _decoded(files: list[Path], data: Data, data_dir: Path, report: Report) -> tuple[np.ndarray, np.ndarray]:
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
                    _keep(folder, *_decode(files, data.image_size, report))
        except OSError as error:
            raise BadInput(
                f"{data_dir} cannot be written ({error.strerror}): name another --data-dir"
            ) from None
    return np.load(folder / "x.npy", mmap_mode="r"), np.load(folder / "bad.npy")


def _keep(folder: Path, x: np.ndarray, bad: np.ndarray) -> None:
    """Store x and bad in `folder`, which appears whole or not at all."""
    making = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir()
    np.save(making / "x.npy", x)
    np.save(making / "bad.npy", bad)
    making.replace(folder)


def _decode(files: list[Path], size: int | None, report: Report) -> tuple[np.ndarray, np.ndarray]:
    from PIL import Image

    def read(file: Path) -> np.ndarray | None:
        try:
            with Image.open(file) as image:
                return _fitted(_rgb(image), size)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # what decoders raise
            return None

    x, first, bad = None, None, []
    with ThreadPoolExecutor() as pool:
        for i, pixels in enumerate(pool.map(read, files)):
            if i % 500 == 0:
                report(i, len(files))
            if pixels is None:
                bad.append(i)
                continue
            if x is None:
                x, first = np.zeros((len(files), *pixels.shape), np.uint8), files[i]
            if pixels.shape != x.shape[1:]:
                sizes = [
                    f"{file.name} {w}x{h}"
                    for file, (_, h, w) in ((first, x.shape[1:]), (files[i], pixels.shape))
                ]
                raise BadInput(f"images of several sizes ({', '.join(sizes)}): give --image-size PIXELS")
            x[i] = pixels
    report(len(files), len(files))
    return np.zeros((len(files), 3, 1, 1), np.uint8) if x is None else x, np.array(bad, dtype=np.int64)


def _rgb(image):
    """`image` with 8 bits a channel. Raises ValueError for more than 16 bits, whose range is not known."""
    if image.mode == "F" or image.mode.startswith("I"):  # Pillow would make all above 255 white
        from PIL import Image

        pixels = np.asarray(image)
        if image.mode == "F" or pixels.max() > 0xFFFF:
            raise ValueError("more than 16 bits a pixel")
        image = Image.fromarray((pixels >> 8).astype(np.uint8))
    return image.convert("RGB")


def _fitted(image, size: int | None) -> np.ndarray:
    """(3, H, W); with a size, the shorter side is scaled to it and the middle is taken."""
    if size is not None and image.size != (size, size):
        from PIL import ImageOps

        image = ImageOps.fit(image, (size, size))
    return np.asarray(image).transpose(2, 0, 1)
