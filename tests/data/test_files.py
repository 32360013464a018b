import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from depthbench.data import files
from depthbench.data.files import POSITIONS, Crops, sides
from depthbench.data.images import with_validation
from depthbench.data.load import load_images
from depthbench.data.placement import place_images
from depthbench.data.settings import Data
from depthbench.errors import BadInput
from tests.data.photographs import write_photographs

SIDE = 28  # of a crop; the shorter side is scaled to 32 in testing


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_photographs(tmp_path_factory.mktemp("photographs"), {"train": 4, "val": 2}, kind="png")


def load(root, **data):
    return load_images(Data(path=str(root), decode="as_read", image_size=SIDE, **data), root / "cache")


def hand_made(root, transform, part="val"):
    """Apply `transform` to every image of a split, at the paper's scale for testing."""
    paths = sorted((root / part).glob("*/*.png"))
    scaled = (v2.Resize(32)(Image.open(path).convert("RGB")) for path in paths)
    return [transform(image) for image in scaled]


def array(image):
    return np.asarray(image).transpose(2, 0, 1)


@pytest.mark.parametrize(
    ("size", "expected"), [(224, (256, 480)), (112, (128, 240)), (32, (37, 69)), (2, (2, 4))]
)
def test_scales_are_proportional_to_those_of_the_paper(size, expected):
    assert sides([256, 480], size) == expected


def test_an_image_is_the_centre_crop_of_the_scaled_file(root):
    images = load(root)
    expected = np.stack([array(crop) for crop in hand_made(root, v2.CenterCrop(SIDE))])
    assert images.test_x.shape == (12, 3, SIDE, SIDE)
    assert images.test_x.dtype == expected.dtype == np.uint8
    assert images.test_x.nbytes == expected.nbytes
    assert np.array_equal(images.test_x[np.arange(12)], expected)
    assert np.array_equal(images.test_x[2:5], expected[2:5])
    assert np.array_equal(images.test_x[7], expected[7])
    assert np.array_equal(np.asarray(images.test_x), expected)
    assert images.classes == tuple(f"class{label}" for label in range(6))
    assert images.test_y.tolist() == [label for label in range(6) for _ in range(2)]


def test_chunks_are_the_images_in_order(root):
    x = load(root).test_x
    parts = list(x.split(5))
    assert [len(part) for part in parts] == [5, 5, 2]
    assert torch.equal(torch.cat(parts), torch.from_numpy(np.asarray(x)))


def test_an_array_has_the_requested_type(root, monkeypatch):
    monkeypatch.setattr(files, "CHUNK", 5)
    x = load(root).test_x
    assert np.array_equal(np.asarray(x), x[:])
    assert np.asarray(x, dtype=np.float32).dtype == np.float32


@pytest.mark.parametrize("threads", [1, 3])
def test_chunks_are_decoded_by_the_threads_of_a_run(root, monkeypatch, threads):
    used = []
    pool = files.ThreadPoolExecutor
    monkeypatch.setattr(files, "ThreadPoolExecutor", lambda count: used.append(count) or pool(count))
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert sum(len(part) for part in load(root).test_x.split(5)) == 12
    assert used == [threads]


@pytest.mark.slow
def test_a_process_that_reads_crops_does_not_import_torchvision(root):
    code = (
        "import pickle, sys; import numpy as np; import depthbench.data.source\n"
        "from depthbench.data.files import Crops\n"
        f"x = pickle.loads({pickle.dumps(load(root).train_x)!r})\n"
        "one = np.array([1]); print(x[one].shape, x.crop(Crops(one, 40 * one, one, one)).shape)\n"
        "print('torchvision' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"(1, 3, {SIDE}, {SIDE}) (1, 3, {SIDE}, {SIDE})\nFalse\n"


@pytest.mark.cuda
def test_chunks_are_pinned_if_cuda_is_used(root):
    torch.zeros(1, device="cuda")
    x = load(root).test_x
    parts = list(x.split(5))
    assert all(part.is_pinned() for part in parts)
    assert torch.equal(torch.cat([part.cuda() for part in parts]).cpu(), torch.from_numpy(np.asarray(x)))


def test_ten_crops_equal_those_of_torchvision(root):
    parts = list(load(root).test_x.ten_crops(5))
    assert [tuple(part.shape) for part in parts] == [(count, 10, 3, SIDE, SIDE) for count in (5, 5, 2)]
    expected = [np.stack([array(crop) for crop in crops]) for crops in hand_made(root, v2.TenCrop(SIDE))]
    assert np.array_equal(torch.cat(parts), np.stack(expected))


@pytest.mark.parametrize("side", [SIDE, 35, 60])
def test_a_crop_is_the_drawn_part_of_the_scaled_image(root, side):
    x = load(root).train_x
    paths = sorted((root / "train").glob("*/*.png"))
    rng = np.random.default_rng(side)
    index = rng.permutation(24)[:6]
    top, left = rng.integers(0, POSITIONS, (2, 6))
    crops = x.crop(Crops(index, np.full(6, side), top, left))
    for crop, i, t, at in zip(crops, index, top, left, strict=True):
        scaled = array(v2.Resize(side)(Image.open(paths[i])))
        assert min(scaled.shape[1:]) == side
        first_row = int(t / POSITIONS * (scaled.shape[1] - SIDE + 1))
        first_column = int(at / POSITIONS * (scaled.shape[2] - SIDE + 1))
        rows, columns = slice(first_row, first_row + SIDE), slice(first_column, first_column + SIDE)
        assert np.array_equal(crop, scaled[:, rows, columns])


def test_crops_reach_the_first_and_the_last_position(root):
    x = load(root).train_x
    whole = array(Image.open(root / "train" / "class0" / "0.png"))
    side = min(whole.shape[1:])
    ends = np.array([0, POSITIONS - 1])
    first, last = x.crop(Crops(np.zeros(2, int), np.full(2, side), ends, ends))
    assert np.array_equal(first, whole[:, :SIDE, :SIDE])
    assert np.array_equal(last, whole[:, -SIDE:, -SIDE:])


def test_chosen_images_are_read_from_their_own_files(root):
    x = load(root).train_x
    chosen = x.choose(np.array([20, 3, 8])).choose(np.array([2, 0]))
    assert np.array_equal(np.asarray(chosen), x[np.array([8, 20])])
    assert np.asarray(x.choose(np.array([], int))).shape == (0, 3, SIDE, SIDE)


def test_a_pickle_holds_names_and_no_pixels(root):
    x = load(root).train_x
    held = pickle.dumps(x)
    assert len(held) < x.nbytes / 10
    assert np.array_equal(pickle.loads(held)[3:5], x[3:5])


def test_validation_and_split_choose_files(root):
    images = with_validation(load(root), Data(val_size=6))
    assert len(images.train_x) == 18
    both = np.concatenate([images.train_x, images.val_x])
    assert sorted(map(bytes, both)) == sorted(map(bytes, np.asarray(load(root).train_x)))
    one = load(root / "train", test_fraction=0.25)
    assert (len(one.train_x), len(one.test_x)) == (18, 6)


def test_images_in_files_and_their_parts_are_streamed(root):
    images = load(root)
    placed = place_images(images, torch.device("cpu"))
    assert placed.is_streamed
    assert placed.train_source().x is images.train_x
    chosen, labels = placed.train_set(np.array([5, 1]))
    assert np.array_equal(next(chosen.split(2)), images.train_x[np.array([5, 1])])
    assert labels.tolist() == [1, 0]


def test_the_hash_covers_names_sizes_labels_bytes_and_side(root, tmp_path, monkeypatch):
    write_photographs(tmp_path, {"train": 4, "val": 2}, kind="png")
    first = load(root).content_hash()
    assert load(tmp_path).content_hash() == first
    assert load(tmp_path, skip_bad_images=True).content_hash() == first
    other = Data(path=str(tmp_path), decode="as_read", image_size=SIDE + 1)
    hashes = {first, load_images(other, tmp_path).content_hash()}

    file = tmp_path / "train" / "class2" / "1.png"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + b"\0")
    hashes.add(load(tmp_path).content_hash())
    monkeypatch.setattr("depthbench.data.files.MAX_HASHED", 1)  # the bytes of the first file alone
    unseen = load(tmp_path).content_hash()
    file.write_bytes(whole)
    assert load(tmp_path).content_hash() == unseen
    file.write_bytes(whole + b"\0")
    hashes |= {unseen, load(tmp_path).content_hash()}
    file.rename(file.with_name("z.png"))
    hashes.add(load(tmp_path).content_hash())
    assert len(hashes) == 6


def test_an_unreadable_file_raises_when_it_is_read(root, tmp_path):
    write_photographs(tmp_path, {"train": 2, "val": 1}, kind="png")
    file = tmp_path / "val" / "class3" / "0.png"
    file.write_bytes(file.read_bytes()[:200])
    x = load(tmp_path).test_x
    assert len(np.asarray(x.choose(np.array([0, 1])))) == 2
    for read in (lambda: x[3], lambda: list(x.split(2)), lambda: list(x.ten_crops(4))):
        with pytest.raises(BadInput) as error:
            read()
        assert str(error.value).startswith(f"image {file} cannot be read (")
        assert str(error.value).endswith("): replace or remove it")
        assert "\n" not in str(error.value)


def test_an_empty_file_raises_at_once(tmp_path):
    write_photographs(tmp_path, {"train": 2, "val": 2}, kind="png")
    (tmp_path / "train" / "class0" / "0.png").write_bytes(b"")
    (tmp_path / "val" / "class5" / "9.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(BadInput, match=r"2 of 25 images cannot be read \(train/class0/0.png, val/class5/9.p"):
        load(tmp_path)
    images = load(tmp_path, skip_bad_images=True)
    assert images.skipped == ("train/class0/0.png", "val/class5/9.png")
    assert np.asarray(images.train_x).shape == (11, 3, SIDE, SIDE)


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK"])
def test_every_kind_of_image_becomes_rgb(tmp_path, mode):
    write_photographs(tmp_path, {"train": 1, "val": 1}, kind="png")
    kind = "jpg" if mode == "CMYK" else "png"
    Image.new(mode, (50, 40)).save(tmp_path / "train" / "class0" / f"9.{kind}")
    assert load(tmp_path).train_x[1].shape == (3, SIDE, SIDE)


def test_nothing_is_written(root, tmp_path):
    write_photographs(tmp_path / "photos", {"train": 1, "val": 1})
    data = Data(path=str(tmp_path / "photos"), decode="as_read", image_size=SIDE)
    np.asarray(load_images(data, tmp_path / "cache").train_x)
    assert os.listdir(tmp_path) == ["photos"]
