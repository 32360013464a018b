"""The section `[data]` of a study: the images, their split, and the scaling of pixels. No torch here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from depthbench.data import DATASETS
from depthbench.registry import look_up
from depthbench.schema import Count, Fraction, Section

NOT_IN_RUN_ID = ("path", "skip_bad_images")
"""Keys of `[data]` that do not affect a run's id. The hash of the images identifies the images."""

Normalisation = Literal["channel", "pixel", "none"]

PAPER_CROP_SIDE = 224
"""Side, in pixels, of the crops for which He et al. 2015 (sec. 3.4) state their scales."""


class Data(Section):
    """The images to use, their split, and the scaling of their pixels."""

    name: str = "digits"
    """A data set (`depthbench list data`)."""
    path: str | None = None
    """A folder of images. With it, `name` only labels the results."""
    image_size: Annotated[int, Field(ge=2, le=1024)] | None = None
    """Resize and crop the images of a folder to a square of this side, in pixels."""
    decode: Literal["once", "as_read"] = "once"
    """When to decode the images of a folder. once: before the first run, and keep them as arrays. This is the
    fastest, if the disk of --data-dir can hold them. as_read: each time an image is read. Use it for folders
    as large as ImageNet. Scale augmentation and ten_crop need it, because they see more of an image than one
    crop. It needs image_size, and it takes means and colours from a sample of the images."""
    test_fraction: Fraction = 0.2
    """Fraction of a folder without train/ and test/ that becomes the test set."""
    val_fraction: Fraction | None = None
    """Fraction of the training images to use for validation instead, stratified by class."""
    val_size: Count | None = None
    """Number of training images to use for validation instead, stratified by class."""
    split_seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Seed of every split and of the training images that are evaluated."""
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
