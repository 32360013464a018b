"""Data sets of torchvision. The first use downloads them to the data directory."""

from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np

from depthbench.data.images import Images
from depthbench.errors import BadInput

PUBLISHED = {  # shape of an image, classes, training and test images
    "cifar10": ((3, 32, 32), 10, 50_000, 10_000),
    "cifar100": ((3, 32, 32), 100, 50_000, 10_000),
    "svhn": ((3, 32, 32), 10, 73_257, 26_032),
    "mnist": ((1, 28, 28), 10, 60_000, 10_000),
    "fashion_mnist": ((1, 28, 28), 10, 60_000, 10_000),
}
FLIPS = {"cifar10": True, "cifar100": True, "svhn": False, "mnist": False, "fashion_mnist": True}


def load(data_dir: Path, *, name: str) -> Images:
    """Return the published training and test sets of `name`.

    Raises BadInput if the files are not in `data_dir` and cannot be downloaded."""
    from torchvision import datasets

    folder = data_dir / name
    makers: dict[str, Callable[..., Any]] = {
        "cifar10": datasets.CIFAR10,
        "cifar100": datasets.CIFAR100,
        "svhn": datasets.SVHN,
        "mnist": datasets.MNIST,
        "fashion_mnist": datasets.FashionMNIST,
    }
    parts = [{"split": "train"}, {"split": "test"}] if name == "svhn" else [{"train": True}, {"train": False}]
    try:
        train, test = (makers[name](folder, download=True, **part) for part in parts)
    except (OSError, RuntimeError, HTTPException) as error:  # no network, bad file, read-only
        reason = " ".join(str(getattr(error, "reason", error)).split())
        raise BadInput(
            f"data set {name} is not in {folder} and cannot be downloaded ({reason}): connect to the "
            "network, name the directory that contains it with --data-dir, or use --data digits (bundled)"
        ) from None
    classes = getattr(train, "classes", None) or [str(k) for k in range(10)]
    return Images(
        name,
        train_x=_pixels(train),
        train_y=_labels(train),
        test_x=_pixels(test),
        test_y=_labels(test),
        classes=tuple(str(c) for c in classes),
        flips=FLIPS[name],
    )


def stand_in(name: str) -> Images:
    """Return as many images as `name` has, all black and without memory of their own.

    They allow a plan to count runs and memory before the data set is downloaded."""
    shape, classes, *counts = PUBLISHED[name]
    black = [np.broadcast_to(np.uint8(0), (count, *shape)) for count in counts]
    labels = [np.arange(count) % classes for count in counts]
    names = tuple(map(str, range(classes)))
    return Images(name, black[0], labels[0], black[1], labels[1], names, flips=FLIPS[name])


def _pixels(data: Any) -> np.ndarray:
    """Return pixels (N, C, H, W) uint8 from (N, H, W, 3), (N, 3, H, W) or (N, H, W)."""
    x = np.asarray(data.data)
    if x.ndim == 3:
        x = x[:, None]
    elif x.shape[-1] == 3:
        x = x.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(x)


def _labels(data: Any) -> np.ndarray:
    """Return labels (N,) int64. torchvision calls them `labels` (SVHN) or `targets`."""
    return np.asarray(data.labels if hasattr(data, "labels") else data.targets).astype(np.int64)
