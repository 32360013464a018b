"""Stored runs -> DataFrames."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import groupby, islice
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from depthbench.data.settings import Data
from depthbench.errors import BadInput
from depthbench.probes.columns import RUN_COLUMNS as KEYS
from depthbench.schema import Section
from depthbench.store.index import read_records
from depthbench.store.mirror import shown
from depthbench.store.numbering import numbered_alike
from depthbench.store.record import FINISHED, REQUIRED_TABLES, Final, Table
from depthbench.store.remote import fetch
from depthbench.store.study_store import RUN_NAME, StudyStore
from depthbench.study.model import NetworkOptions, Recipe
from depthbench.text import printable
from depthbench.training.final_evaluations import number_names

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

RUN_COLUMNS = (  # columns of `Results.runs` from a record; the columns of `final` follow them
    "run_id",
    "network",
    "depth",
    "seed",
    "status",
    "reason",
    "family",
    "parameters",
    "multiply_adds",
    "steps",
    "step",
    "num_classes",
    "layer_order",
)
EXECUTION_COLUMNS = {  # column -> part of a record, and its key
    "seconds": ("timing", "seconds"),
    "images_per_second": ("timing", "images_per_second"),
    "peak_memory": ("timing", "peak_memory"),
    "peak_memory_of": ("timing", "peak_memory_of"),
    "initial_weights_hash": ("hashes", "initial_weights"),
    "batches_hash": ("hashes", "batches"),
    "data_hash": ("hashes", "data"),
    "device": ("environment", "device"),
    "threads": ("environment", "threads"),
    "loop": ("execution", "loop"),
    "commit": ("environment", "commit"),
}
# Section of a run -> its type. Every key but `path` is a column, e.g. recipe.lr.
SETTING_COLUMNS: dict[str, type[Section]] = {"options": NetworkOptions, "recipe": Recipe, "data": Data}
Rows = Sequence[Mapping[str, Any]]
BATCH = 100  # number of tables read before they are made compact


def read_runs(path: str | Path) -> list[dict[str, Any]]:
    """Return a flat row for each stored run, sorted by depth, network and seed.

    The keys are the columns of `Results.runs`. Reads each run.json, or the index of all (store/index.py), and
    needs neither torch nor pandas. Raises BadInput if `path` holds no results, or results of another
    format."""
    store = StudyStore(path)
    search = store.table().get("frontier", {})
    final_names = (*Final.model_fields, *number_names())
    rows = []
    for file in store.misplaced_files():
        line = f"depthbench: {shown(file)}: a file in the place of a run's directory; move it away"
        print(printable(line), file=sys.stderr)
    for name, record in read_records(store).items():
        if record is None:
            if store.run(name).is_locked_here():  # its process has not stored it yet
                continue
            run_path = store.run(name).path
            line = f"depthbench: {shown(run_path)}: run.json cannot be read; skipping the run"
            print(printable(line), file=sys.stderr)
            continue
        rows.append(_row(record, search, final_names))
    return sorted(rows, key=lambda row: (row["depth"], row["network"], row["seed"]))


def running(store: StudyStore, rows: Rows) -> list[dict[str, Any]]:
    """Return rows of `read_runs` with the status `running` for runs that a process trains now.

    Until such a run ends, its record says interrupted, or failed if it is tried again. A run that has not
    been stored yet gets a row with what its name says; other values are None."""
    known = {row["run_id"]: row for row in rows}
    busy = store.busy_runs([name for name in store.run_names() if not _is_finished(known.get(name))])
    now: list[dict[str, Any]] = []
    for name in sorted({*known, *busy}):
        row = known.get(name) or _row_of_name(name)
        if row is not None:
            now.append({**row, "status": "running", "reason": None} if name in busy else dict(row))
    return sorted(now, key=lambda row: (row["depth"], row["network"], row["seed"]))


def _is_finished(row: Mapping[str, Any] | None) -> bool:
    return row is not None and row["status"] in FINISHED


def _row_of_name(name: str) -> dict[str, Any] | None:
    """Return the row of a run without a record, or None if `name` is not a run id."""
    match = RUN_NAME.fullmatch(name)
    if match is None:
        return None
    record: dict[str, Any] = {
        "run": {},
        "run_id": name,
        "network": match[1],
        "depth": int(match[2]),
        "seed": int(match[3]),
    }
    row = _row(record, {}, (*Final.model_fields, *number_names()))
    unknown = ("family", *(key for key in row if key.partition(".")[0] in SETTING_COLUMNS))
    return row | dict.fromkeys(unknown)


def _row(record: Mapping[str, Any], search: Mapping[str, Any], final_names: Sequence[str]) -> dict[str, Any]:
    """Return the row of the content of a run.json. `search` is the [frontier] table of its study."""
    run, final, shape = record["run"], record.get("final", {}), record.get("image_shape")
    row: dict[str, Any] = {column: record.get(column) for column in RUN_COLUMNS}
    row["family"] = run.get("of") or record["network"]
    watched = run.get("watched")
    row |= {f"watched.{key}": (watched or {}).get(key) for key in ("residual", "twin")}
    row |= {name: final.get(name) for name in final_names}
    row |= {column: record.get(part, {}).get(key) for column, (part, key) in EXECUTION_COLUMNS.items()}
    for name, defaults in _setting_defaults().items():
        values = run.get(name, {})
        for key, default in defaults.items():
            row[f"{name}.{key}"] = values.get(key, default if watched is None else None)
    own = run.get("options", {}).keys() - NetworkOptions.model_fields.keys()  # of a plug-in's builder
    row |= {f"options.{key}": run["options"][key] for key in sorted(own)}
    for key, value in (row.pop("recipe.optimizer_settings") or {}).items():
        is_key = key in Recipe.model_fields  # such as warmup_steps of a plug-in's optimiser
        row[f"recipe.optimizer_settings.{key}" if is_key else f"recipe.{key}"] = value
    row["frontier.below"] = search.get("below")
    row["data.shape"] = None if shape is None else tuple(shape)
    return row


@cache
def _setting_defaults() -> Mapping[str, Mapping[str, Any]]:
    """Return the default of each setting that is a column."""
    return {
        name: {key: field.default for key, field in section.model_fields.items() if key != "path"}
        for name, section in SETTING_COLUMNS.items()
    }


def missing_tables(path: str | Path, rows: Rows) -> list[str]:
    """Return RUN/NAME.parquet for each table that a finished run lacks, from rows of `read_runs`."""
    store = StudyStore(path)
    return [
        f"{row['run_id']}/{name}.parquet"
        for row in rows
        if row["status"] in FINISHED
        for name in REQUIRED_TABLES
        if not os.path.isfile(store.run(row["run_id"]).path / f"{name}.parquet")
    ]


class Results(NamedTuple):
    """Three tidy tables. Errors are in percent, and the final errors of a diverged run are at chance."""

    runs: "pd.DataFrame"
    """One row per run: run_id, network, depth, seed, status, parameters, multiply_adds, final errors,
    seconds, peak_memory (bytes, None if not measured), ...

    family is the name in NETWORKS. options.KEY, recipe.KEY and data.KEY are as a study file sets them. A
    setting of the optimiser is recipe.KEY, or recipe.optimizer_settings.KEY if the recipe has such a key. An
    option of a plug-in has a column if a run sets it, with NaN in rows where it has its default. data.shape
    is (C, H, W) if recorded. watched.KEY is what the caller of `watch` states; other settings of such a run
    are unknown (None). frontier.below is the bound of a search, in percent."""
    history: "pd.DataFrame"
    """One row per logged step: run_id, network, depth, seed, step, epoch, lr, loss, train_error, and, at
    evaluations, train_error_eval, test_error and val_error."""
    layers: "pd.DataFrame"
    """One row per probed step and layer: run_id, network, depth, seed, step, layer (1 = input side), name,
    stage, and one column per probe. `probes.columns` describes the further columns that some tables have:
    not_measured, selected_by and use."""


def load_results(path: str | Path) -> Results:
    """Return the runs, history and layers stored in `path`, the directory of one study or its URL.

    A run whose tables are missing or broken stays in `runs`, and a line on stderr names it. Raises BadInput
    if `path` holds no results, or results of another format."""
    path = fetch(path)
    runs, history, layers = join_results(path, read_runs(path))
    return Results(runs, history.infer_objects(), layers.infer_objects())


def join_results(path: str | Path, rows: Rows, *, layers: bool = True) -> Results:
    """Return what `load_results` does, for the rows of `read_runs`. Without `layers`, that table is empty.

    The text in `history` and `layers` has the dtype object. It takes less memory than the dtype of strings,
    because equal values are one object."""
    import pandas as pd

    joined = numbered_alike(_join_tables(path, rows, "layers"), rows) if layers else pd.DataFrame()
    return Results(pd.DataFrame(rows), _join_tables(path, rows, "history"), joined)


def load_predictions(path: str | Path, runs: "pd.DataFrame | None" = None) -> "pd.DataFrame":
    """Return one row per test image and done run, in the order of the data set.

    Columns: run_id, network, depth, seed, label (the true class) and predicted (the class that the trained
    network chose). Classes are categories with the names and order of the data set. `runs` is `Results.runs`
    if it was loaded already. Runs from versions that stored no predictions have no rows. Broken tables and
    BadInput: as in `load_results`."""
    return join_predictions(fetch(path), runs).infer_objects()


def join_predictions(path: str | Path, runs: "pd.DataFrame | None" = None) -> "pd.DataFrame":
    """Return what `load_predictions` does, with text as in `join_results`."""
    import pandas as pd

    rows = _finished(path, runs)
    frame = _join_tables(path, rows, "predictions")
    if len(frame):
        records = (StudyStore(path).run(row["run_id"]).read() for row in rows)
        classes = next((record.classes for record in records if record and record.classes), None)
        if classes is None:
            raise BadInput(f"{shown(Path(path))}: no run.json names the classes; rerun with --fresh")
        for column in ("label", "predicted"):
            frame[column] = pd.Categorical.from_codes(frame[column], pd.Index(classes))
    return frame


def load_robustness(path: str | Path, runs: "pd.DataFrame | None" = None) -> "pd.DataFrame":
    """Return one row per corruption, strength and finished run that was evaluated with evaluate.robustness.

    Columns: run_id, network, depth, seed, corruption, strength (0: clean images), test_error (percent; chance
    if the run diverged). `runs`, broken tables and BadInput: as in `load_predictions`."""
    path = fetch(path)
    return _join_tables(path, _finished(path, runs), "robustness").infer_objects()


def load_coordinates(path: str | Path, runs: "pd.DataFrame | None" = None) -> "pd.DataFrame":
    """Return one row per step, block and finished run that was measured with probe.coordinates.

    Columns: run_id, network, depth, seed, and those of `training.coordinates.Coordinates.table`. `runs`,
    broken tables and BadInput: as in `load_predictions`."""
    path = fetch(path)
    return _join_tables(path, _finished(path, runs), "coordinates").infer_objects()


def _finished(path: str | Path, runs: "pd.DataFrame | None") -> list[dict[str, Any]]:
    if runs is None:
        return [row for row in read_runs(path) if row["status"] in FINISHED]
    columns = (*KEYS, "status")
    finished = runs.loc[runs["status"].isin(FINISHED), list(columns)]
    return [dict(zip(columns, row, strict=True)) for row in finished.itertuples(index=False)]


def _join_tables(path: str | Path, rows: Rows, name: str) -> "pd.DataFrame":
    """Return NAME.parquet of every run that has it as one table, with the columns that name the run."""
    import numpy as np
    import pandas as pd

    store, owners = StudyStore(path), []
    expected = _expected_tables(store, name)

    def tables() -> "Iterator[pa.Table]":
        for row in rows:
            try:
                table = store.run(row["run_id"]).table(name, expected.get(row["run_id"]))
            except (OSError, ValueError) as error:
                is_missing = isinstance(error, FileNotFoundError)
                if is_missing and not (name in REQUIRED_TABLES and row["status"] in FINISHED):
                    continue  # not started, failed before the first step, or not a run with this table
                problem = "is missing" if is_missing else "is damaged"
                advice = "rerun its study"
                if isinstance(error, PermissionError):
                    problem, advice = "cannot be read", "change its permissions"
                line = f"depthbench: {row['run_id']}: {name}.parquet {problem}; {advice}"
                print(printable(line), file=sys.stderr)
                continue
            owners.append({key: row[key] for key in KEYS} | {"rows": len(table)})
            yield table

    frames = _concatenated(tables())
    if not frames:
        return pd.DataFrame()
    of_runs = pd.DataFrame(owners)
    index = np.repeat(of_runs.index, of_runs.pop("rows"))
    texts = {key: of_runs[key].astype(object) for key in ("run_id", "network")}
    keys = of_runs.assign(**texts).loc[index]
    joined = frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)
    return pd.concat([keys.reset_index(drop=True), joined], axis=1)


def _expected_tables(store: StudyStore, name: str) -> dict[str, Table]:
    """Return the recorded rows and digest of a table, for each finished run that has them.

    The tables of a run in progress are newer than its record."""
    return {
        run_id: Table(**record["tables"][name])
        for run_id, record in read_records(store).items()
        if record and record["status"] in FINISHED and name in record.get("tables", {})
    }


def _concatenated(tables: "Iterator[pa.Table]") -> "list[pd.DataFrame]":
    """Return a frame for each series of tables with equal columns. There is nearly always only one."""
    import pyarrow as pa

    frames = []
    for _, alike in groupby(tables, key=attrgetter("schema")):
        parts = []
        while batch := list(islice(alike, BATCH)):
            parts.append(_compact(pa.concat_tables(batch)))
        whole = pa.concat_tables(parts)
        parts.clear()  # so that the memory of each column can be freed as soon as pandas has copied it
        frame = whole.unify_dictionaries().to_pandas(split_blocks=True, self_destruct=True)
        texts = frame.select_dtypes("category")
        frames.append(frame.assign(**{name: texts[name].astype(object) for name in texts}))
        del whole, frame, texts
    pa.default_memory_pool().release_unused()
    return frames


def _compact(table: "pa.Table") -> "pa.Table":
    """Return a table in as little memory as possible: one buffer per column, and each text only once."""
    import pyarrow as pa

    for index, field in enumerate(table.schema):
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
            table = table.set_column(index, field.name, table.column(index).dictionary_encode())
    return table.combine_chunks()
