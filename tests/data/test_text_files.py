"""Text in files: what is read as what, and bad input."""

import numpy as np
import pytest

from depthbench.data import pydoc
from depthbench.data.kinds import is_text
from depthbench.data.settings import Data
from depthbench.data.text_files import load
from depthbench.errors import BadInput

TEXT = "the cat sat on the mat, and the dog sat on the cat. " * 4


@pytest.fixture
def write(tmp_path):
    """Return a function that writes files below a folder and returns the folder."""

    def write(**files):
        for name, content in files.items():
            path = tmp_path / name.replace("__", "/")
            path = path if path.suffix else path.with_suffix(".txt")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path

    return write


def read(path, **settings):
    return load(Data(path=str(path), kind="text", **settings))


def texts_of(sequences, x) -> list[str]:
    return ["".join(sequences.vocabulary[token] for token in row) for row in x]


def test_a_file_is_cut_into_windows_and_its_end_is_the_test_set(write):
    book = read(write(book=TEXT) / "book.txt", length=8, test_fraction=0.25)
    assert book.is_next
    assert book.unit == "characters"
    train, test = (texts_of(book, x) for x in (book.train_x, book.test_x))
    first = round(0.75 * len(TEXT))
    assert TEXT[:first].startswith("".join(train))
    assert TEXT[first:].startswith("".join(test))
    assert texts_of(book, book.train_y)[0] == TEXT[1:9]
    assert book.vocabulary == tuple(sorted(set(TEXT)))


def test_bytes_are_those_of_the_file(write):
    text = TEXT + "œuvre №1 " * 9
    book = read(write(book=text) / "book.txt", length=4, tokens="bytes", test_fraction=0.5)
    raw = text.encode()
    assert book.vocabulary[0x41] == "0x41"
    assert bytes(book.train_x.ravel()) == raw[: book.train_x.size]
    assert book.unit == "bytes"


def test_characters_beyond_the_basic_plane_and_null_are_tokens_of_their_own(write):
    text = "a\0b😀" * 30
    book = read(write(book=text) / "book.txt", length=4)
    assert book.vocabulary == ("\0", "a", "b", "😀")
    assert "".join(texts_of(book, book.train_x)) == text[: book.train_x.size]


def test_a_folder_is_one_text_in_the_order_of_names(write):
    folder = write(b="x" * 40, a__c="yz" * 30, **{"notes.pdf": b"\xff"})
    book = read(folder, length=4, test_fraction=0.5)
    assert texts_of(book, book.train_x)[0] == "xxxx"  # files of a folder come before those below it


def test_a_folder_with_train_and_test_keeps_its_split(write):
    folder = write(train__a="ab" * 20, test__a="ba" * 20, valid__a="bb" * 20)
    book = read(folder, length=4)
    assert texts_of(book, book.train_x)[0] == "abab"
    assert texts_of(book, book.test_x)[0] == "baba"
    assert texts_of(book, book.val_x)[0] == "bbbb"


def test_folders_of_classes_are_classified(write):
    folder = write(**{f"{name}__{i}": name * (i + 1) for name in ("cat", "dog") for i in range(5)})
    pets = read(folder, length=8)
    assert pets.classes == ("cat", "dog")
    assert not pets.is_next
    texts = [*texts_of(pets, pets.train_x), *texts_of(pets, pets.test_x)]
    labels = [*pets.train_y, *pets.test_y]
    assert sorted(map(len, texts))[0] == 8  # a short text is filled up, a long one cut off
    assert all(text.startswith(pets.classes[label]) for text, label in zip(texts, labels, strict=True))
    assert any("(end)" in text for text in texts)
    assert read(folder, length=8, task="next").is_next


def ag_news(rows=12):
    return "".join(f'"{1 + i % 4}","Title {i}","Text, with ""quotes"" {i}"\n' for i in range(rows))


def test_a_table_like_ag_news_is_read(write):
    folder = write(
        **{
            "train.csv": ag_news(),
            "test.csv": ag_news(8),
            "classes.txt": "World\nSports\nBusiness\nSci/Tech\n",
        }
    )
    news = read(folder, length=32)
    assert news.classes == ("World", "Sports", "Business", "Sci/Tech")
    assert np.bincount(news.train_y).tolist() == [3, 3, 3, 3]
    text = texts_of(news, news.train_x)[1].replace("(end)", "")
    assert text == 'Title 1 Text, with "quotes" 1'
    assert len(news.test_y) == 8


def test_a_single_table_is_split_and_its_headings_are_no_text(write):
    rows = "".join(f"{'good' if i % 2 else 'bad'}\tfilm {i}\n" for i in range(20))
    films = read(write(**{"films.tsv": "label\ttext\n" + rows}) / "films.tsv", length=8, test_fraction=0.2)
    assert films.classes == ("bad", "good")
    assert (len(films.train_y), len(films.test_y)) == (16, 4)


def test_a_byte_order_mark_is_no_text(write):
    book = read(write(book=b"\xef\xbb\xbf" + TEXT.encode()) / "book.txt", length=8)
    assert texts_of(book, book.train_x)[0] == TEXT[:8]


@pytest.mark.parametrize(
    ("files", "name", "settings", "problem"),
    [
        ({"book": b"abc\xff" + b"d" * 99}, "book.txt", {}, "book.txt is not UTF-8 text .at byte 3.: convert"),
        ({"book": ""}, "book.txt", {}, "book.txt is empty: add text"),
        (
            {"book": "ab" * 9},
            "book.txt",
            {},
            "the test part has 4 characters, too few for 2 sequences of 128",
        ),
        ({"book": TEXT}, "book.txt", {}, "set data.length to at most 20, or add text"),
        (
            {"book": TEXT},
            "book.txt",
            {"task": "classes"},
            'data.task = "classes" needs a folder of text files',
        ),
        ({"notes.pdf": b"x"}, "", {}, "contains no text files"),
        ({"cat__1": "x", "cat__2": "y"}, "", {}, "has only one class .'cat'.: add a second class, or set"),
        ({"train__a": TEXT}, "", {}, "has train/ but neither test/ nor val/"),
        ({"t.csv": "1,a\n1,b\n"}, "t.csv", {}, "has only one class .'1'."),
        ({"t.csv": ""}, "t.csv", {}, "t.csv is empty: add rows"),
        ({"t.csv": "1,a\n2\n"}, "t.csv", {}, "t.csv, line 2 has no text"),
        ({"t.csv": "1,a\n,b\n"}, "t.csv", {}, "t.csv, line 2 has no label"),
        ({"t.csv": "1,a\n2,b\n"}, "t.csv", {"task": "next"}, "needs text files, not tables"),
        ({"t.csv": "1,a\n2,b\n"}, "t.csv", {}, "cannot split 0.2 off 2 texts"),
        ({"train.csv": "1,a\n2,b\n"}, "", {}, "has no test.csv next to train.csv"),
        ({"train.csv": "1,a\n2,b\n", "test.csv": "1,a\n"}, "", {}, "class '2' has no text in test.csv"),
        ({"a.csv": "1,a\n", "b.csv": "1,a\n"}, "", {}, "has 2 tables .a.csv, b.csv.: name one"),
        ({"book": TEXT}, "other.txt", {}, "does not exist: name another with --data"),
    ],
)
def test_bad_input_is_named_in_one_line(write, files, name, settings, problem):
    folder = write(**files)
    with pytest.raises(BadInput, match=problem) as raised:
        read(folder / name if name else folder, **settings)
    assert "\n" not in str(raised.value)


def test_text_is_told_from_images_by_names(write, tmp_path):
    folder = write(texts__a="x", pictures__cat__a="x", **{"pictures/cat/1.png": b"x"}, other__a=b"x")
    assert is_text(folder / "texts")
    assert is_text(folder / "texts" / "a.txt")
    assert not is_text(folder / "pictures")
    assert not is_text(folder / "pictures" / "cat" / "1.png")
    assert not is_text(folder / "nowhere")


def test_the_documentation_of_python_is_prose(tmp_path):
    text = pydoc.load(tmp_path, Data(name="pydoc"))
    assert text.is_next
    assert text.shape == (128,)
    assert text.train_x.size > 300_000
    assert 70 < text.chance_error < 95  # a blank is the most common character
