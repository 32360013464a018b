"""The section `[data]` of a study: images or text, their split, and the scaling of pixels. No torch here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from depthbench.data import DATASETS, SequenceEntry
from depthbench.errors import any_of
from depthbench.registry import look_up
from depthbench.schema import Count, Fraction, Section

NOT_IN_RUN_ID = ("path", "skip_bad_images")
"""Keys of `[data]` that do not affect a run's id. The hash of the data identifies them."""

FOR_SEQUENCES = ("task", "tokens", "length", "hops", "symbols")
"""Keys of `[data]` that data sets of sequences can take."""
OF_TEXT_FILES = frozenset({"task", "tokens", "length"})
"""Those that text files take."""

Normalisation = Literal["channel", "pixel", "none"]

PAPER_CROP_SIDE = 224
"""Side, in pixels, of the crops for which He et al. 2015 (sec. 3.4) state their scales."""


HOPS = 1
"""The value of data.hops, unless it is set."""


def symbols_for(hops: int) -> int:
    """Return the value of data.symbols, unless it is set."""
    return max(8, 2 * hops)


class Data(Section):
    """The images or the text to use, their split, and the scaling of pixels."""

    name: str = "digits"
    """A data set (`depthbench list data`)."""
    path: str | None = None
    """A folder of images, or a file or folder of text. With it, `name` only labels the results."""
    kind: Literal["images", "text"] | None = None
    """What `path` contains. Unset: text if it is a file that is not an image, or a folder that has text files
    (.txt, .md, .csv, ...) and no images."""
    task: Literal["classes", "next"] | None = None
    """What to predict of text files. classes: the class of each text. next: the next token. Unset: classes
    for a table of labels and texts and for a folder with a folder for each class, next for other text."""
    tokens: Literal["characters", "bytes"] | None = None
    """The tokens of text. Unset: characters."""
    length: Annotated[int, Field(ge=2, le=65536)] | None = None
    """Tokens of each sequence of text. Unset: 128 to predict the next token, 256 to predict classes, where
    longer texts are cut off and shorter ones are filled up."""
    hops: Annotated[int, Field(ge=1, le=256)] | None = None
    """Number of arrows to follow in the data set `hops`. Unset: 1."""
    symbols: Annotated[int, Field(ge=2, le=512)] | None = None
    """Number of symbols in the data set `hops`, at least twice the hops. Unset: twice the hops, but at
    least 8."""
    image_size: Annotated[int, Field(ge=2, le=1024)] | None = None
    """Resize and crop the images of a folder to a square of this side, in pixels."""
    decode: Literal["once", "as_read"] = "once"
    """When to decode the images of a folder. once: before the first run, and keep them as arrays. This is the
    fastest, if the disk of --data-dir can hold them. as_read: each time an image is read. Use it for folders
    as large as ImageNet. Scale augmentation and ten_crop need it, because they see more of an image than one
    crop. It needs image_size, and it takes means and colours from a sample of the images."""
    test_fraction: Fraction = 0.2
    """Fraction of a folder without train/ and test/, or of a text, that becomes the test set. For next-token
    prediction it is the end of the text."""
    val_fraction: Fraction | None = None
    """Fraction of the training set to use for validation instead, stratified by class. For next-token
    prediction it is the end of the training text."""
    val_size: Count | None = None
    """Number of training images or sequences to use for validation instead, chosen like val_fraction."""
    split_seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Seed of every split, of the training images that are evaluated, and of generated data."""
    normalisation: Normalisation = "channel"
    """channel: subtract the mean of each channel and divide by its standard deviation; pixel: subtract the
    mean of each pixel (He et al. 2015); none: divide by the highest value, to the range 0 to 1."""
    skip_bad_images: bool = False
    """Whether to leave out images of a folder that cannot be read."""

    @model_validator(mode="before")
    @classmethod
    def _name_folder(cls, values: Any) -> Any:
        """Name a folder's results after the folder, but never like a published data set."""
        if not isinstance(values, Mapping) or not isinstance(values.get("path"), str):
            return values
        name = values.get("name") or Path(values["path"]).resolve().name or "folder"
        return {**values, "name": f"{name}-folder" if name in DATASETS else name}

    @model_validator(mode="after")
    def _check(self) -> "Data":
        if self.path is None:
            look_up(DATASETS, "data set", self.name)
        if self.path is None and self.kind is not None:
            raise ValueError(f"kind is only for paths, and {self.name} is a data set: leave it out")
        self._check_sequences()
        if self.decode == "as_read" and self.path is None:
            raise ValueError('decode = "as_read" needs a folder of images: name one with --data')
        if self.decode == "as_read" and self.image_size is None:
            raise ValueError('decode = "as_read" needs image_size: add --image-size N')
        if self.val_fraction is not None and self.val_size is not None:
            raise ValueError("val_fraction and val_size exclude each other: set only one")
        if self.path is None and self.image_size is not None:
            raise ValueError(
                f"image_size is only for folders of images, and {self.name} is not one: leave it out"
            )
        return self

    @property
    def is_sequences(self) -> bool:
        """Whether the inputs are sequences of tokens, and not images."""
        return self._takes is not None

    @property
    def noun(self) -> str:
        """What the inputs are called, as a plural."""
        return "sequences" if self.is_sequences else "images"

    @property
    def _takes(self) -> frozenset[str] | None:
        """The keys of FOR_SEQUENCES that the data take. None: the data are images."""
        if self.path is not None:
            return OF_TEXT_FILES if self.kind == "text" else None
        entry = look_up(DATASETS, "data set", self.name)
        return entry.takes if isinstance(entry, SequenceEntry) else None

    def _check_sequences(self) -> None:
        takes = self._takes
        for key in FOR_SEQUENCES:
            if getattr(self, key) is not None and key not in (takes or ()):
                whose = "text files" if takes == OF_TEXT_FILES else self.name
                others = [name for name, each in DATASETS.items() if key in getattr(each, "takes", ())]
                others += ["text files"] * (key in OF_TEXT_FILES)
                raise ValueError(f"{key} is only for {any_of(others)}, not for {whose}: leave it out")
        if takes is not None and self.decode == "as_read":
            raise ValueError('decode = "as_read" is only for folders of images: leave it out')
        if takes is not None and self.normalisation != "channel":
            raise ValueError(f'normalisation = "{self.normalisation}" is only for images: leave it out')
        if takes is not None and self.image_size is not None:
            raise ValueError("image_size is only for folders of images: leave it out")
        fewest = 2 * (self.hops or HOPS)
        if self.symbols is not None and self.symbols < fewest:
            raise ValueError(
                f"hops = {self.hops or HOPS} needs at least {fewest} symbols: set symbols = {fewest}"
            )
