"""Load the images that the section `[data]` of a study names."""

from dataclasses import replace
from pathlib import Path

import platformdirs

from depthbench.data import DATASETS, folder
from depthbench.data.images import Images, with_validation
from depthbench.data.mapped import as_mapped
from depthbench.data.settings import Data
from depthbench.registry import look_up


def default_data_dir() -> Path:
    """Return the default of --data-dir, the directory for downloads and decoded images."""
    return Path(platformdirs.user_cache_dir("depthbench"))


def load_images(data: Data, data_dir: Path, report: folder.Report = lambda done, total: None) -> Images:
    """Return the images that `data` names, split. Calls `report(done, total)` while it decodes.

    Raises BadInput if they are missing or cannot be used."""
    if data.path is not None:
        images = folder.load(data, data_dir, report)
    else:
        images = look_up(DATASETS, "data set", data.name)(data_dir)
        pixels = {name: getattr(images, name) for name in ("train_x", "test_x", "val_x")}
        images = replace(images, **{name: as_mapped(x) for name, x in pixels.items()})
    return with_validation(images, data)
