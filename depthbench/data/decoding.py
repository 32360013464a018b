"""Decode one image file to RGB with 8 bits per channel."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image


TWELVE_BITS = 0x0FFF  # a 16-bit image with no brighter pixel most likely uses only 8 to 12 bits


class Unreadable(ValueError):
    """A file that is not a complete image."""


def decode(file: Path) -> "Image":
    """Return the image in `file`. Raises Unreadable."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            return _rgb(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:  # what decoders raise
        raise Unreadable(str(error)) from None


def _rgb(image: "Image") -> "Image":
    """Return `image` with 8 bits per channel.

    Raises ValueError if its white level is unknown: for pixels of more than 16 bits, and for 16-bit pixels
    that use only the lower bits."""
    if image.mode == "F" or image.mode.startswith("I"):  # Pillow would turn pixels above 255 white
        from PIL import Image

        pixels = np.asarray(image)
        if image.mode == "F" or pixels.min() < 0 or pixels.max() > 0xFFFF:
            raise ValueError("more than 16 bits per pixel")
        if 0 < pixels.max() <= TWELVE_BITS:
            raise ValueError(
                f"16 bits per pixel, but no pixel above {pixels.max()}: scale the pixels to the full "
                "range, or store 8 bits"
            )
        image = Image.fromarray((pixels >> 8).astype(np.uint8))
    return image.convert("RGB")
