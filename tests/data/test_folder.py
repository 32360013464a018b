import errno
import hashlib
import os

import numpy as np
import pytest
import torch
from PIL import Image

from depthbench.data import folder
from depthbench.data.load import load_images
from depthbench.data.mapped import Mapped
from depthbench.data.placement import place_images
from depthbench.data.settings import Data
from depthbench.errors import BadInput


def picture(path, colour=(1, 2, 3), size=(4, 4), mode="RGB"):
    """An image of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "pets"


@pytest.fixture
def load(root, tmp_path):
    """Return a function that loads the folder as a study does."""
    return lambda **data: load_images(Data(path=str(root), **data), tmp_path / "cache")


def pets(root, parts=("train", "test"), classes=("cat", "dog"), count=3):
    """Write `count` images for each class and split. The red value of an image is its index in the order."""
    place = 0
    for part in parts:
        for name in classes:
            for i in range(count):
                picture(root / part / name / f"{i}.png", (place, 50, 100))
                place += 1


@pytest.mark.parametrize("other", ["test", "val"])
def test_train_with_test_or_val(root, load, other):
    pets(root, ("train", other))
    images = load()
    assert images.name == "pets"
    assert images.classes == ("cat", "dog")
    assert images.train_x.shape == images.test_x.shape == (6, 3, 4, 4)
    assert images.train_x.dtype == np.uint8
    assert np.asarray(images.train_x)[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert np.asarray(images.test_x)[:, :, 3, 3].tolist() == [[red, 50, 100] for red in (6, 7, 8, 9, 10, 11)]
    assert images.train_y.tolist() == images.test_y.tolist() == [0, 0, 0, 1, 1, 1]
    assert images.flips
    assert images.skipped == ()


def test_test_is_preferred_to_val(root, load):
    pets(root, ("train", "test", "val"))
    assert np.asarray(load().test_x)[:, 0, 0, 0].tolist() == [6, 7, 8, 9, 10, 11]


def test_one_folder_is_split_with_every_class_in_both(root, load):
    pets(root, (".",), count=10)
    images = load(test_fraction=0.3)
    assert np.bincount(images.train_y).tolist() == [7, 7]
    assert np.bincount(images.test_y).tolist() == [3, 3]
    reds = np.concatenate([images.train_x, images.test_x])[:, 0, 0, 0]
    assert sorted(reds) == list(range(20))
    other = load(test_fraction=0.3, split_seed=1)
    assert not np.array_equal(images.test_x, other.test_x)


def test_images_are_ordered_by_class_and_name(root, load):
    for name in ("dog/2.png", "dog/1.png", "cat/b.png", "cat/a.png"):
        for part, red in (("test", 200), ("train", len(name) + ord(name[-5]))):
            picture(root / part / name, (red, 0, 0))
    assert np.asarray(load().train_x)[:, 0, 0, 0].tolist() == [9 + ord(c) for c in "ab12"]


@pytest.mark.parametrize(
    ("mode", "colour", "rgb"),
    [
        ("L", 7, [7, 7, 7]),
        ("RGBA", (1, 2, 3, 255), [1, 2, 3]),
        ("1", 1, [255, 255, 255]),
        ("I;16", 0x1234, [0x12, 0x12, 0x12]),  # not clipped to white
    ],
)
def test_every_kind_of_image_becomes_rgb(root, load, mode, colour, rgb):
    pets(root)
    picture(root / "train" / "cat" / "0.png", colour, mode=mode)
    assert load().train_x[0][:, 0, 0].tolist() == rgb


def test_image_size_crops_the_middle_of_each_image(root, load):
    pets(root)
    image = np.zeros((4, 12, 3), np.uint8)
    image[:, 4:8] = 255
    Image.fromarray(image).save(root / "train" / "cat" / "0.png")
    images = load(image_size=4)
    assert images.train_x.shape == (6, 3, 4, 4)
    assert images.train_x[0].min() == 255
    assert load(image_size=2).shape == (3, 2, 2)


def test_images_of_several_sizes_need_a_size(root, load):
    pets(root)
    picture(root / "train" / "dog" / "9.png", size=(5, 6))
    with pytest.raises(BadInput, match=r"differ in size \(0.png 4x4, 9.png 5x6\): add --image-size PIXELS"):
        load()
    assert load(image_size=4).train_x.shape == (7, 3, 4, 4)


def spoil(root):
    """Make three images unreadable: a truncated one, a text file and a broken link."""
    whole = root / "train" / "cat" / "0.png"
    whole.write_bytes(whole.read_bytes()[:40])
    (root / "train" / "dog" / "notes.jpg").write_text("not a picture")
    (root / "test" / "dog" / "lost.png").symlink_to(root / "nowhere.png")


def test_unreadable_images_are_named_and_counted(root, load):
    pets(root)
    spoil(root)
    with pytest.raises(BadInput) as error:
        load()
    assert str(error.value) == (
        f"data folder {root}: 3 of 14 images cannot be read (train/cat/0.png, train/dog/notes.jpg, "
        "test/dog/lost.png): replace or remove them, or pass --skip-bad-images"
    )


def test_unreadable_images_can_be_left_out(root, load):
    pets(root)
    spoil(root)
    images = load(skip_bad_images=True)
    assert np.asarray(images.train_x)[:, 0, 0, 0].tolist() == [1, 2, 3, 4, 5]
    assert images.train_y.tolist() == [0, 0, 1, 1, 1]
    assert len(images.test_x) == 6
    assert images.skipped == ("train/cat/0.png", "train/dog/notes.jpg", "test/dog/lost.png")


def test_many_unreadable_images_are_counted_and_some_named(root, load):
    pets(root)
    for i in range(8):
        (root / "train" / "cat" / f"bad{i}.png").write_text("")
    with pytest.raises(BadInput, match=r"8 of 20 images cannot be read \(.*bad4.png and 3 more\)"):
        load()


def test_deep_images_of_unknown_range_cannot_be_read(root, load):
    pets(root)
    Image.fromarray(np.full((4, 4), 0.5, np.float32)).save(root / "train" / "cat" / "x.tif")
    with pytest.raises(BadInput, match=r"1 of 13 images cannot be read \(train/cat/x.tif\)"):
        load()


def test_skipped_files_are_noted(root, load):
    pets(root)
    picture(root / "train" / "bird" / "sparrow" / "0.png")
    (note,) = [note for note in load().notes if "subfolders" in note]
    assert note.startswith("skipped 1 image in subfolders of class folders (train/bird/sparrow)")


def test_a_class_with_a_single_image_is_named(root, load):
    pets(root, (".",), count=10)
    picture(root / "bird" / "0.png")
    with pytest.raises(BadInput, match="class 'bird' has a single image, and each class needs at least 2"):
        load()
    picture(root / "cow" / "0.png")
    with pytest.raises(BadInput, match=r"2 classes \('bird', 'cow'\) have a single image"):
        load()


def test_a_class_too_small_for_the_test_set_is_named(root, load):
    pets(root, (".",), count=20)
    picture(root / "bird" / "0.png")
    picture(root / "bird" / "1.png")
    with pytest.raises(BadInput, match="class 'bird' has 2 images, too few for one in test: add some"):
        load(test_fraction=0.1)


def test_an_image_that_is_turned_changes_the_hash_of_files_and_no_other(root, load):
    pets(root)
    hashes, plain, exif = [], [], Image.Exif()
    for orientation in (1, 6):
        exif[0x0112] = orientation
        Image.new("RGB", (4, 4)).save(root / "train" / "cat" / "0.png", exif=exif)
        x = load(decode="as_read", image_size=4).train_x
        files = [root / name.decode() for name in x.names[x.rows]]
        parts = [
            os.fsencode(f.relative_to(root)) + b"\0" + f.stat().st_size.to_bytes(8, "big") for f in files
        ]
        plain.append(hashlib.sha256(b"".join(parts + [f.read_bytes() for f in files])).digest())
        hashes.append(x.content_hash())
    assert hashes[0] == plain[0]  # as in earlier versions
    assert hashes[1] != plain[1]


def test_names_that_are_not_utf_8_are_read_and_shown(root, load):
    pets(root, parts=("train", "test"), classes=("caf\udce9", "cat", "dog"))
    picture(root / "train" / "cat" / "br\udcfc.png")
    (root / "train" / "dog" / "bad\udcff.png").write_bytes(b"")
    with pytest.raises(BadInput, match="train/dog/bad\ufffd\\.png"):
        load()
    images = load(skip_bad_images=True)
    assert images.classes == ("caf\ufffd", "cat", "dog")
    assert images.skipped == ("train/dog/bad\ufffd.png",)
    picture(root / "train" / "caf\udce8" / "0.png")
    with pytest.raises(BadInput, match="several classes are shown as 'caf\ufffd'"):
        load(skip_bad_images=True)


def test_hidden_files_and_folders_are_ignored(root, load):
    pets(root)
    picture(root / "train" / ".thumbnails" / "0.png")
    (root / "train" / "cat" / "._0.png").write_text("")
    (root / "train" / "cat" / "readme.txt").write_text("")
    assert len(load().train_x) == 6


def remove(root, *parts):
    for file in root.joinpath(*parts).glob("*"):
        file.unlink()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: None, "data folder {root} does not exist: name another with --data"),
        (lambda root: root.mkdir(), "data folder {root} contains no images: put the images of each class"),
        (
            lambda root: picture(root / "1.png"),
            "data folder {root} contains no images: put the images of each",
        ),
        (
            lambda root: pets(root, (".",), ["cat"]),
            "data folder {root} has only one class ('cat'): add",
        ),
        (
            lambda root: pets(root, ("train",)),
            "data folder {root} has train/ but neither test/ nor val/",
        ),
        (
            lambda root: (pets(root), remove(root, "test", "dog"), remove(root, "test", "cat")),
            "data folder {root}/test contains no images",
        ),
        (
            lambda root: (pets(root), remove(root, "test", "dog")),
            "data folder {root}: class 'dog' has no readable image in test",
        ),
        (
            lambda root: (pets(root), picture(root / "test" / "cow" / "1.png")),
            "data folder {root}: class 'cow' has no readable image in train",
        ),
    ],
)
def test_a_folder_that_cannot_be_used(root, load, make, message):
    make(root)
    with pytest.raises(BadInput) as error:
        load()
    assert str(error.value).startswith(message.format(root=root))
    assert "\n" not in str(error.value)


def test_a_folder_without_readable_images_is_an_error(root, load):
    for name in ("cat/1.png", "dog/1.png"):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_text("")
    with pytest.raises(BadInput, match="none of its 2 images can be read"):
        load(skip_bad_images=True)


def test_images_are_decoded_once_and_again_when_one_changes(root, load, monkeypatch):
    pets(root)
    first = load()
    decode, decoded = folder._decode, []
    monkeypatch.setattr(folder, "_decode", lambda *a: decoded.append(a) or decode(*a))
    assert load().content_hash() == first.content_hash()
    assert decoded == []

    changed = root / "train" / "cat" / "0.png"
    before = changed.stat()
    picture(changed, (99, 50, 100))
    os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert load().train_x[0][0, 0, 0] == 99
    assert len(decoded) == 1

    load(image_size=2)
    assert len(decoded) == 2


def test_leftovers_of_a_killed_process_are_not_used(root, load, tmp_path):
    pets(root)
    load()
    (made,) = (p for p in (tmp_path / "cache" / "decoded").iterdir() if p.is_dir())
    expected = load().content_hash()
    made.rename(made.with_name(f"{made.name}.part"))
    (made.with_name(f"{made.name}.part") / "x.npy").write_bytes(b"")
    assert load().content_hash() == expected


def test_a_data_directory_that_cannot_be_written(root, load, tmp_path):
    pets(root)
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(BadInput, match=r"cache cannot be written \(.*\): name another --data-dir"):
        load()


def test_progress_is_reported_to_the_last_image(root, tmp_path):
    pets(root)
    reports = []
    folder.load(Data(path=str(root)), tmp_path / "cache", lambda done, total: reports.append((done, total)))
    assert reports == [(0, 12), (12, 12)]


def test_validation_is_taken_out_of_a_folder_too(root, load):
    pets(root, count=10)
    images = load(val_size=4)
    assert len(images.train_x) == 16
    assert np.bincount(images.val_y).tolist() == [2, 2]
    assert len(images.test_x) == 20


def test_val_with_train_and_test_is_the_validation_set(root, load):
    for part, count in (("train", 3), ("test", 2), ("val", 1)):
        pets(root, (part,), count=count)
    images = load()
    assert [len(y) for y in (images.train_y, images.test_y, images.val_y)] == [6, 4, 2]
    assert np.asarray(images.val_x)[:, 0, 0, 0].tolist() == [0, 1]
    with pytest.raises(BadInput, match=r"pets already has a validation set \(val/\): remove val_size"):
        load(val_size=2)


@pytest.mark.parametrize("parts", [("train", "test"), (".",)])
def test_images_stay_in_their_file(root, load, parts):
    pets(root, parts, count=5)
    images = load(val_size=2)
    everything = np.concatenate([images.train_x, images.val_x, images.test_x])
    assert sorted(everything[:, 0, 0, 0]) == list(range(10 * len(parts)))
    for x in (images.train_x, images.val_x, images.test_x):
        assert isinstance(x, Mapped)
        assert isinstance(x.file, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            x.file[0] = 0
    there = place_images(images, torch.device("cpu")).train_source().x
    assert np.array_equal(there, images.train_x)


def test_few_images_are_decoded_ahead_of_what_is_written(root, load, monkeypatch):
    monkeypatch.setattr(folder, "CHUNK", 5)
    pets(root)
    (root / "train" / "cat" / "1.png").write_text("no image")  # its pixels stay zero
    fit, decoded, reports = folder._fitted, [], []
    monkeypatch.setattr(folder, "_fitted", lambda *a: decoded.append(a) or fit(*a))
    folder.load(
        Data(path=str(root), skip_bad_images=True),
        root.parent / "cache",
        lambda done, total: reports.append((done, len(decoded))),
    )
    assert [done for done, _ in reports] == [0, 5, 10, 12]
    assert all(count <= done + 5 for done, count in reports)
    assert np.asarray(load(skip_bad_images=True).train_x)[:, 0, 0, 0].tolist() == [0, 2, 3, 4, 5]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_an_incomplete_decoded_folder_is_removed(root, load, tmp_path, monkeypatch, error):
    def write_header(*args):
        raise error

    pets(root)
    write = folder._write_header
    monkeypatch.setattr(folder, "_write_header", write_header)
    with pytest.raises((BadInput, KeyboardInterrupt)) as raised:
        load()
    if isinstance(error, OSError):
        assert str(raised.value).endswith("written (No space left on device): name another --data-dir")
    assert [p for p in (tmp_path / "cache" / "decoded").iterdir() if p.is_dir()] == []
    monkeypatch.setattr(folder, "_write_header", write)
    assert len(load().train_x) == 6
