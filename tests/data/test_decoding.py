import numpy as np
import pytest
from PIL import Image, ImageOps

from depthbench.data.decoding import Unreadable, decode, is_turned_or_transparent


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


def oriented(path, orientation, pixels):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif, **({"lossless": True} if path.suffix == ".webp" else {}))


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_images_are_turned_as_their_exif_data_say(tmp_path, suffix):
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    for orientation in range(10):
        path = tmp_path / f"{orientation}.{suffix}"
        oriented(path, orientation, pixels)
        with Image.open(path) as image:
            expected = ImageOps.exif_transpose(image)
        assert np.array_equal(np.asarray(decode(path)), np.asarray(expected)), orientation
        assert decode(path).size == ((2, 4) if 5 <= orientation <= 8 else (4, 2))
        is_turned = 2 <= orientation <= 8 and suffix != "tif"  # Pillow has always turned TIFF
        assert is_turned_or_transparent(path.read_bytes()) == is_turned


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_an_image_with_damaged_exif_data_is_read(tmp_path):
    Image.new("RGB", (4, 2), (9, 9, 9)).save(tmp_path / "x.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert decode(tmp_path / "x.jpg").size == (4, 2)


@pytest.mark.parametrize(
    ("mode", "colour", "options", "rgb"),
    [
        ("RGBA", (10, 20, 30, 0), {}, (255, 255, 255)),
        ("RGBA", (0, 0, 0, 127), {}, (128, 128, 128)),
        ("RGBA", (10, 20, 30, 255), {}, (10, 20, 30)),
        ("LA", (7, 0), {}, (255, 255, 255)),
        ("P", 3, {"transparency": 3}, (255, 255, 255)),
        ("P", 3, {"transparency": 4}, (0, 0, 0)),
        ("P", 3, {"transparency": bytes([255, 255, 255, 127])}, (128, 128, 128)),
        ("L", 7, {"transparency": 7}, (255, 255, 255)),
        ("RGB", (7, 8, 9), {"transparency": (7, 8, 9)}, (255, 255, 255)),
        ("1", 0, {"transparency": 0}, (255, 255, 255)),
    ],
)
def test_transparent_pixels_are_blended_with_white(tmp_path, mode, colour, options, rgb):
    image = Image.new(mode, (2, 2), colour)
    if mode == "P":
        image.putpalette([0, 0, 0] * 256)
    image.save(tmp_path / "x.png", **options)
    assert decode(tmp_path / "x.png").getpixel((0, 0)) == rgb
    is_opaque = options == {"transparency": 4} or colour == (10, 20, 30, 255)
    assert is_turned_or_transparent((tmp_path / "x.png").read_bytes()) != is_opaque
