"""Decode one image file to RGB with 8 bits per channel, upright, on a white background."""

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image, Transpose


WHITE = (255, 255, 255, 255)
ORIENTATION = 0x0112  # tag of EXIF: how the camera was held
MARKS_OF_ORIENTATION = (b"Exif", b"exif", b"eXIf", b"EXIF", b"tiff:Orientation")  # in files of all formats
TWELVE_BITS = 0x0FFF  # a 16-bit image with no brighter pixel most likely uses only 8 to 12 bits


class Unreadable(ValueError):
    """A file that is not a complete image."""


def decode(file: Path) -> "Image":
    """Return the image in `file` as a viewer shows it on a white page. Raises Unreadable.

    It is turned as its EXIF orientation says. Transparent pixels are blended with white."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            image.load()  # the orientation may be stored behind the pixels
            return _rgb(_upright(image))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:  # what decoders raise
        raise Unreadable(str(error)) from None


def is_turned_or_transparent(content: bytes) -> bool:
    """Return whether `decode` turns the image of a file's content, or blends it with white.

    False if it is unreadable. The pixels of most images are not decoded for this."""
    from PIL import Image

    try:
        with Image.open(BytesIO(content)) as image:
            if not image.has_transparency_data and not any(mark in content for mark in MARKS_OF_ORIENTATION):
                return False
            image.load()
            return _turn(image) is not None or _is_transparent(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def _turn(image: "Image") -> "Transpose | None":
    """Return the operation that turns `image` upright, or None. Damaged EXIF data count as absent."""
    from PIL.Image import Transpose

    operations = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    try:
        return operations.get(image.getexif().get(ORIENTATION, 1))
    except Exception:  # the parser of EXIF raises many kinds, and the pixels are good
        return None


def _upright(image: "Image") -> "Image":
    """Return `image` turned upright.

    ImageOps.exif_transpose fails on EXIF data that it cannot write again."""
    turn = _turn(image)
    return image if turn is None else image.transpose(turn)


def _is_transparent(image: "Image") -> bool:
    """Return whether a pixel of `image` is not opaque."""
    if not image.has_transparency_data:
        return False
    alpha = np.asarray(image.convert("RGBA").getchannel("A"))
    return bool((alpha < 255).any())


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
    if _is_transparent(image):
        from PIL import Image

        white = Image.new("RGBA", image.size, WHITE)
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image.convert("RGB")
