"""Stored runs -> DataFrames."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from depthbench.data.settings import Data
from depthbench.store.record import ALWAYS, FINISHED
from depthbench.store.study_store import StudyStore
from depthbench.study.file import check_format
from depthbench.study.model import NetworkOptions, Recipe

if TYPE_CHECKING:
    import pandas as pd

FINAL_COLUMNS = (  # of run.json's "final": percent, except the steps
    "train_error",
    "train_error_eval",
    "test_error",
    "val_error",
    "best_test_error",
    "best_step",
    "val_selected_test_error",
    "val_selected_step",
    "test_error_10crop",
    "test_error_top5",
    "test_error_top5_10crop",
)

# Of run.json's "timing": peak_memory in bytes, of a `process` or a `device`.
TIMING_COLUMNS = ("seconds", "images_per_second", "peak_memory", "peak_memory_of")


def read_runs(path: str | Path) -> list[dict[str, Any]]:
    """A flat row for each stored run, by depth, network and seed: the columns of `Results.runs`.

    Reads run.json alone, and needs neither torch nor pandas. Raises BadInput where `path` holds no
    results, or results of another format."""
    store = StudyStore(path)
    search = store.table().get("frontier", {})
    rows = []
    for run_store in store.run_stores():
        record = run_store.read()
        if record is None:
            print(
                f"depthbench: {run_store.path}: run.json cannot be read; the run is left out", file=sys.stderr
            )
            continue
        check_format(record.get("format"), run_store.path / "run.json")
        row = {key: record.get(key) for key in ("run_id", "network", "depth", "seed", "status", "reason")}
        run = record.get("run", {})
        row["family"] = run.get("of") or record.get("network")
        row |= {
            key: record.get(key) for key in ("parameters", "multiply_adds", "steps", "step", "num_classes")
        }
        row |= {key: record.get("final", {}).get(key) for key in FINAL_COLUMNS}
        row |= {key: record.get("timing", {}).get(key) for key in TIMING_COLUMNS}
        row |= {
            f"{key}_hash": record.get("hashes", {}).get(key) for key in ("initial_weights", "batches", "data")
        }
        row |= {key: record.get("environment", {}).get(key) for key in ("device", "threads")}
        row |= {
            f"{part}.{key}": run.get(part, {}).get(key, field.default)
            for part, section in (("options", NetworkOptions), ("recipe", Recipe), ("data", Data))
            for key, field in section.model_fields.items()
            if key != "path"
        }
        optimizer_settings = row.pop("recipe.optimizer_settings")
        row |= {f"recipe.{key}": value for key, value in optimizer_settings.items()}
        row["frontier.below"] = search.get("below")
        row["data.shape"] = tuple(shape) if (shape := record.get("image_shape")) else None
        rows.append(row)
    return sorted(rows, key=lambda row: (row["depth"], row["network"], row["seed"]))


class Results(NamedTuple):
    """Three tidy tables. Errors are in percent, a diverged run's final ones at chance."""

    runs: "pd.DataFrame"
    """A row a run: run_id, network, depth, seed, status, parameters, multiply_adds, final errors, seconds,
    peak_memory (bytes; None where not measured), ...;
    family, the name in NETWORKS of what a variant is of; options.KEY, recipe.KEY and data.KEY as a study file
    would set them; data.shape, (C, H, W), where it was recorded; frontier.below, the bound of a search
    (percent)."""
    history: "pd.DataFrame"
    """A row a logged step: run_id, network, depth, seed, step, epoch, lr, loss, train_error, and, where
    evaluated, train_error_eval, test_error, val_error."""
    layers: "pd.DataFrame"
    """A row a probed step and layer: run_id, network, depth, seed, step, layer (1 = input side), name,
    stage, and one column a probe."""


def load_results(path: str | Path) -> Results:
    """The runs, history and layers stored under `path`, one study's directory.

    A run whose tables are missing or broken stays in `runs`; a line on stderr says so. Raises BadInput
    where `path` holds no results, or results of another format."""
    import pandas as pd

    rows = read_runs(path)
    return Results(pd.DataFrame(rows), *(_together(path, rows, name) for name in ("history", "layers")))


def load_predictions(path: str | Path, runs: "pd.DataFrame | None" = None) -> "pd.DataFrame":
    """A row a test image, in the data set's order, of each run under `path` that is done: run_id, network,
    depth, seed; label, what it shows, and predicted, what the trained network calls it, as categories: the
    classes, by name, in the data set's order.

    `runs` is `Results.runs`, where it was read already. Runs of before predictions were stored have none.
    Broken tables and BadInput: as in `load_results`."""
    import pandas as pd

    frame = _together(path, _finished(path, runs), "predictions")
    if len(frame):
        classes = StudyStore(path).run(frame["run_id"].iloc[0]).read()["classes"]
        for column in ("label", "predicted"):
            frame[column] = pd.Categorical.from_codes(frame[column], classes)
    return frame


def load_robustness(path: str | Path, runs: "pd.DataFrame | None" = None) -> "pd.DataFrame":
    """A row a corruption and strength of each finished run under `path` that was asked for them
    (evaluate.robustness): run_id, network, depth, seed; corruption, strength (0: clean images), test_error
    (percent; of a diverged run, chance). `runs`, broken tables and BadInput: as in `load_predictions`."""
    return _together(path, _finished(path, runs), "robustness")


def _finished(path: str | Path, runs: "pd.DataFrame | None") -> list[dict[str, Any]]:
    rows = read_runs(path) if runs is None else runs.to_dict("records")
    return [row for row in rows if row["status"] in FINISHED]


def _together(path: str | Path, rows: list[dict[str, Any]], name: str) -> "pd.DataFrame":
    """NAME.parquet of each run that has one, with the columns that say whose it is."""
    import numpy as np
    import pandas as pd

    store, frames, whose = StudyStore(path), [], []
    for row in rows:
        try:
            frame = store.run(row["run_id"]).frame(name)
        except (OSError, ValueError) as error:
            is_absent = isinstance(error, FileNotFoundError)
            if is_absent and not (name in ALWAYS and row["status"] in FINISHED):
                continue  # not begun, or failed before the first step, or without such a table
            why = "is missing" if is_absent else "cannot be read"
            print(f"depthbench: {row['run_id']}: {name}.parquet {why}; run it again", file=sys.stderr)
            continue
        frames.append(frame)
        whose.append({key: row[key] for key in ("run_id", "network", "depth", "seed")})
    if not frames:
        return pd.DataFrame()
    keys = pd.DataFrame(whose).loc[np.repeat(np.arange(len(frames)), [len(frame) for frame in frames])]
    return pd.concat([keys.reset_index(drop=True), pd.concat(frames, ignore_index=True)], axis=1)
