import numpy as np
import pytest
from PIL import Image

from depthbench.data.decoding import Unreadable, decode


@pytest.mark.parametrize(
    ("mode", "colour", "rgb"),
    [("L", 7, (7, 7, 7)), ("RGBA", (1, 2, 3, 255), (1, 2, 3)), ("I;16", 0x1234, (0x12, 0x12, 0x12))],
)
def test_every_kind_of_image_becomes_rgb(tmp_path, mode, colour, rgb):
    Image.new(mode, (3, 2), colour).save(tmp_path / "x.png")
    image = decode(tmp_path / "x.png")
    assert (image.mode, image.size, image.getpixel((0, 0))) == ("RGB", (3, 2), rgb)


def test_an_incomplete_image_is_unreadable(tmp_path):
    Image.fromarray(np.full((4, 4), 0.5, np.float32)).save(tmp_path / "deep.tif")
    Image.new("RGB", (30, 30)).save(tmp_path / "cut.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:-20])
    (tmp_path / "text.png").write_text("no image")
    for name in ("deep.tif", "cut.jpg", "text.png", "none.png"):
        with pytest.raises(Unreadable):
            decode(tmp_path / name)


@pytest.mark.parametrize(
    ("dtype", "values"), [(np.uint16, (0, 4095)), (np.int32, (-5, 9000)), (np.int32, (0, 70_000))]
)
def test_an_image_with_an_unknown_white_level_is_unreadable(tmp_path, dtype, values):
    """Of 12 bits stored in 16, only 16 greys would remain, and negative pixels would become bright."""
    Image.fromarray(np.array([values, values], dtype)).save(tmp_path / "x.tif")
    with pytest.raises(Unreadable, match="16 bits"):
        decode(tmp_path / "x.tif")


def test_an_image_of_16_bits_may_be_black(tmp_path):
    Image.new("I;16", (3, 2), 0).save(tmp_path / "x.png")
    assert decode(tmp_path / "x.png").getpixel((0, 0)) == (0, 0, 0)
