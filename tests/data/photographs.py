"""A small folder of photographs of different sizes: shapes in the colour of their class on noise."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_photographs(root: Path, parts: dict[str, int], classes: int = 6, kind: str = "jpg") -> Path:
    """Write images of 40 to 60 pixels a side below `root`, with the given number per class in each split."""
    rng = np.random.default_rng(0)
    for part, count in parts.items():
        for label in range(classes):
            folder = root / part / f"class{label}"
            folder.mkdir(parents=True)
            for i in range(count):
                height, width = rng.integers(40, 61, 2)
                pixels = rng.integers(0, 100, (height, width, 3), dtype=np.uint8)
                top, left = rng.integers(0, 20, 2)
                pixels[top : top + 20, left : left + 20, label % 3] += np.uint8(100 + 50 * (label // 3))
                Image.fromarray(pixels).save(folder / f"{i}.{kind}")
    return root
