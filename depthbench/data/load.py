"""Load the data that the section `[data]` of a study names."""

from dataclasses import replace
from pathlib import Path

import platformdirs

from depthbench.data import DATASETS, folder, text_files
from depthbench.data.images import Images, problem_of_images, with_validation
from depthbench.data.labelled import Labelled
from depthbench.data.mapped import as_mapped
from depthbench.data.sequences import Sequences
from depthbench.data.settings import Data
from depthbench.errors import BadInput, one_line
from depthbench.registry import Entry, look_up


def default_data_dir() -> Path:
    """Return the default of --data-dir, the directory for downloads and decoded images."""
    return Path(platformdirs.user_cache_dir("depthbench"))


def load_images(data: Data, data_dir: Path, report: folder.Report = lambda done, total: None) -> Labelled:
    """Return the images or sequences that `data` names, split. Calls `report(done, total)` while it decodes.

    Raises BadInput if they are missing or cannot be used."""
    if data.is_sequences:
        return with_validation(_load_sequences(data, data_dir), data)
    if data.path is not None:
        images = folder.load(data, data_dir, report)
    else:
        entry = look_up(DATASETS, "data set", data.name)
        images = entry(data_dir) if entry.is_ours else _load_from_plugin(entry, data.name, data_dir)
        pixels = {name: getattr(images, name) for name in ("train_x", "test_x", "val_x")}
        images = replace(images, **{name: as_mapped(x) for name, x in pixels.items()})
    return with_validation(images, data)


def _load_sequences(data: Data, data_dir: Path) -> Sequences:
    if data.path is not None:
        return text_files.load(data)
    sequences: Sequences = look_up(DATASETS, "data set", data.name)(data_dir, data)
    return sequences


def _load_from_plugin(entry: Entry, name: str, data_dir: Path) -> Images:
    """Return the images that a plug-in's loader returns.

    Raises BadInput if the loader fails or returns something other than valid `Images`. A BadInput that the
    loader raises is passed on."""
    where = f"data set {name!r}{f' of {entry.origin}' if entry.origin else ''}"
    try:
        images = entry(data_dir)
    except BadInput:
        raise
    except Exception as error:
        raise BadInput(f"{where}: its loader raised {one_line(error)}; fix its plug-in") from error
    if not isinstance(images, Images):
        kind = type(images).__name__
        raise BadInput(f"{where}: its loader returned a {kind}; return depthbench.plugins.Images(...)")
    if (problem := problem_of_images(images)) is not None:
        raise BadInput(f"{where}: {problem}; fix its plug-in")
    return images
