"""From the study's [data] to images, in memory or in files."""

from dataclasses import replace
from pathlib import Path

import platformdirs

from depthbench.data import DATASETS, folder
from depthbench.data.images import Images, with_validation
from depthbench.data.mapped import mapped
from depthbench.data.settings import Data
from depthbench.registry import look_up


def default_data_dir() -> Path:
    """Where downloads and decoded images go unless --data-dir says otherwise."""
    return Path(platformdirs.user_cache_dir("depthbench"))


def load_images(data: Data, data_dir: Path, report: folder.Report = lambda done, total: None) -> Images:
    """The images that `data` names, split. `report(done, total)` is told how decoding goes.

    Raises BadInput where they are not there or cannot be used."""
    if data.path is not None:
        images = folder.load(data, data_dir, report)
    else:
        images = look_up(DATASETS, "data set", data.name)(data_dir)
        pixels = {name: getattr(images, name) for name in ("train_x", "test_x", "val_x")}
        images = replace(images, **{name: mapped(x) for name, x in pixels.items()})
    return with_validation(images, data)
