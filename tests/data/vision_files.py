"""Write small files in the formats of torchvision's data sets, so that nothing is downloaded."""

import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import scipy.io

SIZES = {  # training and test images that `write` writes
    "cifar10": (10, 3),
    "cifar100": (4, 2),
    "svhn": (3, 3),
    "mnist": (12, 5),
    "fashion_mnist": (12, 5),
}


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def write(name: str, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Write the data set `name` below `data_dir`. Returns its training pixels (N, C, H, W)."""
    for module in ("cifar", "svhn", "utils"):  # the files do not have the published checksums
        monkeypatch.setattr(f"torchvision.datasets.{module}.check_integrity", lambda path, md5=None: True)
    return WRITERS[name](data_dir / name)


def _write_cifar10(folder: Path) -> np.ndarray:
    folder = folder / "cifar-10-batches-py"
    x = pixels(10, 3, 32, 32)  # the files hold all red pixels first, row by row
    for i in range(5):
        _pickle_batch(folder / f"data_batch_{i + 1}", x[2 * i : 2 * i + 2], "labels", [i, 9 - i])
    _pickle_batch(folder / "test_batch", x[:3], "labels", [0, 1, 2])
    names = ["airplane", "automobile", *map(str, range(8))]
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    return x


def _write_cifar100(folder: Path) -> np.ndarray:
    folder = folder / "cifar-100-python"
    x = pixels(4, 3, 32, 32)
    _pickle_batch(folder / "train", x, "fine_labels", [0, 99, 5, 7])
    _pickle_batch(folder / "test", x[:2], "fine_labels", [1, 98])
    names = [f"class {i}" for i in range(100)]
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": names}))
    return x


def _pickle_batch(path: Path, x: np.ndarray, key: str, labels: list[int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps({"data": x.reshape(len(x), -1), key: labels}))


def _write_svhn(folder: Path) -> np.ndarray:
    folder.mkdir()
    x = pixels(3, 3, 32, 32)
    for part in ("train", "test"):
        content = {"X": x.transpose(2, 3, 1, 0), "y": np.array([[10], [1], [9]], np.uint8)}
        scipy.io.savemat(folder / f"{part}_32x32.mat", content)
    return x


def _write_mnist(folder: Path) -> np.ndarray:
    return _write_idx_files(folder / "MNIST" / "raw")


def _write_fashion_mnist(folder: Path) -> np.ndarray:
    return _write_idx_files(folder / "FashionMNIST" / "raw")


def _write_idx_files(folder: Path) -> np.ndarray:
    x = pixels(12, 28, 28)
    for part, count in (("train", 12), ("t10k", 5)):
        _write_idx(folder / f"{part}-images-idx3-ubyte", x[:count])
        _write_idx(folder / f"{part}-labels-idx1-ubyte", (np.arange(count) % 10).astype(np.uint8))
    return x[:, None]


def _write_idx(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(header + array.tobytes())


WRITERS = {
    "cifar10": _write_cifar10,
    "cifar100": _write_cifar100,
    "svhn": _write_svhn,
    "mnist": _write_mnist,
    "fashion_mnist": _write_fashion_mnist,
}
