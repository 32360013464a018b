import os

import pytest

from depthbench.data.listing import list_images
from depthbench.errors import BadInput


@pytest.fixture
def root(tmp_path):
    return tmp_path / "pets"


def write(root, *names):
    """Write empty files: only their names count."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def names_of(listing):
    return {name: [str(f.relative_to(listing.root)) for f in files] for name, files in listing.splits.items()}


def test_images_are_sorted_by_class_and_name_whatever_their_suffix(root):
    write(root, "dog/1.JFIF", "cat/b.png", "cat/a.jpeg", "cat/.hidden.png", ".git/x.png", "cat/Thumbs.db")
    listing = list_images(root)
    assert names_of(listing) == {"all": ["cat/a.jpeg", "cat/b.png", "dog/1.JFIF"]}
    assert listing.notes == ()


@pytest.mark.parametrize(
    ("folders", "splits"),
    [
        (("Train", "Test"), {"train": "Train", "test": "Test"}),
        (("training", "Testing", "VALID"), {"train": "training", "test": "Testing", "val": "VALID"}),
        (("train", "validation"), {"train": "train", "test": "validation"}),
        (("TRAIN", "valid"), {"train": "TRAIN", "test": "valid"}),
    ],
)
def test_spellings_of_splits(root, folders, splits):
    write(root, *(f"{folder}/{name}/1.png" for folder in folders for name in ("cat", "dog")))
    expected = {name: [f"{folder}/cat/1.png", f"{folder}/dog/1.png"] for name, folder in splits.items()}
    assert names_of(list_images(root)) == expected


def test_a_folder_called_train_can_be_a_class_of_vehicles(root):
    write(root, "Train/1.png", "bus/1.png")
    assert names_of(list_images(root)) == {"all": ["Train/1.png", "bus/1.png"]}
    write(root, "test/1.png")  # images that nobody has sorted are no classes
    with pytest.raises(BadInput, match="pets/Train contains no images: put the images of each class into a"):
        list_images(root)


def test_everything_that_is_skipped_is_counted_and_named(root):
    write(root, "cat/1.png", "dog/1.png", "loose.png", "labels.csv")
    write(root, *(f"bird/{kind}/{i}.png" for kind in ("owl", "sparrow/male") for i in range(2)))
    write(root, *(f"fish/{i}.heic" for i in range(1200)), "cat/notes.txt", "fish/raw/x.NEF", "empty/.keep")
    assert list_images(root).notes == (
        "no class, because no image is directly in it: bird, empty, fish",
        "skipped 4 images in subfolders of class folders (bird/owl, bird/sparrow/male): move them into the "
        "folder of their class",
        "skipped 1,202 files in other formats (1,200 .heic, 1 .nef, 1 .txt; e.g. fish/0.heic): convert "
        "images among them to JPEG or PNG",
        "skipped 1 image outside class folders (loose.png): move each into the folder of its class",
    )


def test_folders_next_to_the_splits_are_named(root):
    write(root, "train/cat/1.png", "test/cat/1.png", "unlabelled/1.png", "a/1.png", "b/1.png", "c/1.png")
    assert list_images(root).notes == ("skipped folders that are not a split: a, b, c and 1 more",)


def test_errors_name_what_was_skipped(root):
    write(root, "pets/cat/1.png", "pets/dog/1.png")
    with pytest.raises(BadInput, match=r"contains no images: .*; skipped 2 images in subfolders.*pets/cat"):
        list_images(root)


@pytest.mark.parametrize(
    ("first", "second", "others", "split"),
    [
        ("val", "valid", ["train"], "val"),
        ("val", "validation", ["train", "test"], "val"),
        ("Training", "train", ["val"], "train"),
        ("TEST", "testing", ["train", "val"], "test"),
    ],
)
def test_two_folders_of_a_split_are_ambiguous(root, first, second, others, split):
    write(root, *(f"{name}/cat/1.png" for name in (first, second, *others)))
    message = f"pets has {first}/ and {second}/, which both mean {split}: merge or rename one"
    with pytest.raises(BadInput, match=message):
        list_images(root)


def test_splits_without_training_images_are_named(root):
    write(root, "val/cat/1.png", "Test/cat/1.png")
    with pytest.raises(BadInput, match="pets has Test/, val/ but no train/: add the training images"):
        list_images(root)


def test_a_class_that_is_named_like_a_split_is_no_split_beside_other_classes(root):
    write(root, "valid/a/1.png", "invalid/b/1.png")
    with pytest.raises(BadInput, match="move them into the folder of their class"):
        list_images(root)


def test_classes_may_be_called_like_a_split(root):
    write(root, "test/1.png", "val/1.png", "other/x/1.png")
    assert names_of(list_images(root)) == {"all": ["test/1.png", "val/1.png"]}


def test_links_that_form_a_loop_are_followed_once(root):
    write(root, "cat/1.png", "dog/1.png", "elsewhere/more/2.png")
    (root / "cat" / "self").symlink_to(root)
    (root / "dog" / "more").symlink_to(root / "elsewhere" / "more")
    listing = list_images(root)
    assert names_of(listing) == {"all": ["cat/1.png", "dog/1.png"]}
    assert "skipped 2 images in subfolders of class folders (dog/more, elsewhere/more)" in listing.notes[1]


def test_names_that_are_not_utf_8_can_be_printed(root):
    write(root, "caf\udce9/x\udce9/1.png", "caf\udce9/1.\udce9", "dog/1.png")
    notes = "; ".join(list_images(root).notes)
    assert "caf\ufffd/x\ufffd" in notes
    assert "1 .\ufffd; e.g. caf\ufffd/1.\ufffd" in notes


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_cannot_be_read(root):
    write(root, "cat/1.png", "dog/1.png")
    (root / "cat").chmod(0)
    try:
        with pytest.raises(BadInput, match=r"pets/cat cannot be read \(Permission denied\): check"):
            list_images(root)
    finally:
        (root / "cat").chmod(0o700)
