"""Records <-> disk <-> DataFrames: what a results directory holds, and how it is kept whole.

    results/<study>/study.toml                     the study as run, the results format, the data hash
    results/<study>/runs/<run-id>/run.json         the full run, status, environment, final numbers
                                  history.parquet  one row a logged step
                                  layers.parquet   one row a probed step and layer
                                  predictions.parquet  one row a test image, of a run that is done
                                  robustness.parquet  one row a corruption and strength, where asked for

Status is `done`, `diverged` (a result), `failed` or `interrupted`. A run is `interrupted` on disk from
its first moment, so that a kill leaves the truth."""

import contextlib
import json
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import filelock

from depthbench.errors import BadInput
from depthbench.files import atomic, write_text
from depthbench.study import (
    FORMAT,
    NOT_OF_THE_RESULT,
    Data,
    Frontier,
    Grid,
    NetworkOptions,
    Recipe,
    Run,
    Shared,
    Study,
    Variant,
    Verdict,
)
from depthbench.study_file import check_format, load_study

if TYPE_CHECKING:
    import pandas as pd

FINISHED = ("done", "diverged")  # a run that is never trained again

ALWAYS = ("history", "layers")  # tables that each finished run has

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


class RunStore:
    """The directory of one run."""

    def __init__(self, path: Path):
        self.path = path
        self.checkpoint = path / "checkpoint.pt"

    def read(self) -> dict[str, Any] | None:
        """run.json, or None where it is missing or cannot be read."""
        try:
            record = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return record if isinstance(record, dict) and "status" in record else None

    def write(self, record: dict[str, Any]) -> None:
        """Replace run.json."""
        write_text(self.path / "run.json", json.dumps(record, indent=1, default=str) + "\n")

    def write_rows(self, history: list[dict], layers: "pd.DataFrame") -> None:
        """Replace history.parquet and layers.parquet."""
        import pandas as pd

        self.write_frame("history", pd.DataFrame(history))
        self.write_frame("layers", layers)

    def write_frame(self, name: str, frame: "pd.DataFrame") -> None:
        """Replace NAME.parquet."""
        with atomic(self.path / f"{name}.parquet") as temporary:
            frame.to_parquet(temporary, index=False)

    def frame(self, name: str) -> "pd.DataFrame":
        """`history`, `layers`, or a table that only some runs have. Raises OSError or ValueError where the
        file is missing or broken."""
        import pandas as pd

        return pd.read_parquet(self.path / f"{name}.parquet")

    def is_finished(self) -> bool:
        """Whether the run is a result whose files can all be read."""
        record = self.read()
        if record is None or record["status"] not in FINISHED:
            return False
        try:
            tables = {file.stem: self.frame(file.stem) for file in self.path.glob("*.parquet")}
        except (OSError, ValueError):
            return False
        return len(tables.get("history", ())) > 0 and tables.keys() >= set(ALWAYS)


class StudyStore:
    """The directory of one study."""

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def run(self, run_id: str) -> RunStore:
        return RunStore(self.path / "runs" / run_id)

    def run_stores(self) -> list[RunStore]:
        """The runs that are there, by name."""
        return [RunStore(p) for p in sorted((self.path / "runs").glob("*")) if p.is_dir()]

    def records(self) -> list[dict[str, Any]]:
        """run.json of each run that is there and whose can be read, by name."""
        return [record for run_store in self.run_stores() if (record := run_store.read()) is not None]

    def table(self) -> dict[str, Any]:
        """study.toml as it stands. To read results no network or plug-in that it names need be known.

        Raises BadInput where there is none, or it is of another format."""
        path = self.path / "study.toml"
        if not path.is_file():
            inside = sorted(str(file.parent) for file in self.path.glob("*/study.toml"))
            told = f"one of {', '.join(inside)}" if inside else "a directory that `depthbench run` made"
            raise BadInput(f"{self.path} holds no results (no study.toml): give {told}")
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise BadInput(
                f"{path}: not valid TOML: {error}; mend it (`run --fresh` discards all that is stored there)"
            ) from None
        check_format(table.get("format"), path)
        return table

    def study(self) -> Study:
        """The stored study, its plug-ins loaded. Raises BadInput as `table` does, or if it is not valid."""
        self.table()
        return load_study(self.path / "study.toml")

    def check(self, study: Study, data_hash: str, fresh: bool = False) -> None:
        """Raise BadInput unless `study` can be stored here. Writes nothing.

        More depths, seeds or networks of the same data and recipe may join; nothing else may, unless what is
        stored is to be discarded (`fresh`). What is no study is never discarded."""
        if self.path.exists() and not self.path.is_dir():
            raise BadInput(f"{self.path} is a file: give a directory, or --name NAME")
        file = self.path / "study.toml"
        if not file.exists():
            if self.path.is_dir() and any(p.name != ".lock" for p in self.path.iterdir()):
                raise BadInput(
                    f"{self.path} holds other files but no study: give another --results or --name"
                )
            return
        if fresh:
            return
        stored = self.table()
        stored_hash = stored.get("data_hash")
        ours = study.model_dump(mode="json")
        here, there = shared_settings(ours), shared_settings(stored)
        for name in set(ours["variants"]) & set(stored.get("variants", {})):  # others may join
            here[f"variants.{name}"] = ours["variants"][name]
            there[f"variants.{name}"] = stored["variants"][name]
        different = [key for key in sorted(here | there) if here.get(key) != there.get(key)]
        if not different and stored_hash not in (None, data_hash):
            different, here, there = (
                ["images"],
                {"images": data_hash[:12]},
                {"images": stored_hash[:12]},
            )
        if different:
            told = ", ".join(
                f"{k} is {there.get(k, 'unset')} there and {here.get(k, 'unset')} here" for k in different[:3]
            )
            raise BadInput(
                f"{self.path} holds runs with other settings ({told}): add --name NAME to store "
                f"this as a study of its own, or remove {self.path} (for `run`, --fresh does)"
            )
        self.check_code(study)

    @contextlib.contextmanager
    def opened(self, study: Study, data_hash: str, fresh: bool = False) -> Iterator[None]:
        """The directory, made and locked, with `study` joined to what is stored.

        Raises BadInput where it cannot be written, or another process writes to it."""
        self.check(study, data_hash, fresh)  # before anything is written, and once nobody else can write
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.path / ".lock", timeout=0)
            lock.acquire()
        except filelock.Timeout:
            raise BadInput(
                f"{self.path}: another depthbench is writing there; wait for it, or add --name NAME"
            ) from None
        except OSError as error:
            raise BadInput(
                f"{self.path} cannot be written ({error.strerror}): give another --results DIR"
            ) from None
        try:
            self.check(study, data_hash, fresh)
            for leftover in self.path.glob("runs/*/.*.part"):  # of a kill in the middle of a write
                leftover.unlink(missing_ok=True)
            if fresh:
                for name in ("runs", "report", "report-slides", "tensorboard"):
                    shutil.rmtree(self.path / name, ignore_errors=True)
                (self.path / "study.toml").unlink(missing_ok=True)
            text = self._joined(study).to_toml()
            write_text(self.path / "study.toml", f'data_hash = "{data_hash}"\n{text}')
            yield
        finally:
            lock.release()

    def check_code(self, study: Study) -> None:
        """Raise BadInput where a network of `study` is stored with the code of another plug-in."""
        ours = {run.network: run.plugin for run in study.runs()}
        for record in self.records():
            theirs = record.get("run", {}).get("plugin", "")
            if ours.get(record.get("network"), theirs) != theirs:
                raise BadInput(
                    f"{self.path} holds runs of {record['network']} by another version of its plug-in: add "
                    "--name NAME to store this as a study of its own"
                )

    def _joined(self, study: Study) -> Study:
        """`study`, its grid and plug-ins grown by those stored here."""
        if not (self.path / "study.toml").exists():
            return study
        stored = self.table()
        first, *also = _united([*_grids(stored), study.grid, *study.also])
        plugins = list(dict.fromkeys([*stored.get("plugins", []), *study.plugins]))
        variants = {name: Variant(**v) for name, v in stored.get("variants", {}).items()} | study.variants
        grown = {"grid": first, "also": also, "plugins": plugins, "variants": variants}
        if stored.get("verdict"):  # it was stated before the runs
            grown["verdict"] = Verdict(**stored["verdict"])
        if study.frontier is None and "frontier" in stored:
            grown["frontier"] = Frontier(**stored["frontier"])
        return study.model_copy(update=grown)


def asked_for(study: dict[str, Any]) -> list[tuple[int, str, int]]:
    """(depth, network, seed) of each run that a study.toml asks for."""
    return list(dict.fromkeys(cell for grid in _grids(study) for cell in grid.cells()))


def _grids(study: dict[str, Any]) -> list[Grid]:
    return [Grid.model_construct(**grid) for grid in (study.get("grid", {}), *study.get("also", []))]


def _united(grids: list[Grid]) -> list[Grid]:
    """Grids with the runs of `grids` and no others: one where that can be, else as few as are needed."""
    cells = {cell for grid in grids for cell in grid.cells()}
    depth, network, seed = (sorted(set(axis)) for axis in zip(*cells, strict=True))
    whole = Grid.model_construct(network=network, depth=depth, seed=seed)
    if set(whole.cells()) == cells:
        return [whole]
    kept: list[Grid] = []
    for grid in sorted(grids, key=lambda grid: -len(set(grid.cells()))):
        if not set(grid.cells()) <= {cell for other in kept for cell in other.cells()}:
            kept.append(grid)
    return kept


def shared_settings(study: dict[str, Any]) -> dict[str, Any]:
    """Dotted key -> value of all that one directory's runs share. Keys without a value are left out; one that
    a stored study does not know yet is at its default."""
    defaults = Shared().model_dump(mode="json")
    shared = {section: defaults[section] | study.get(section, {}) for section in Shared.model_fields}
    return {
        f"{section}.{key}": value
        for section, table in shared.items()
        for key, value in table.items()
        if value is not None and not (section == "data" and key in NOT_OF_THE_RESULT)
    }


def describe(run: Run) -> dict[str, Any]:
    """What run.json says of a run before it starts."""
    return {
        "format": FORMAT,
        "run_id": run.run_id,
        "network": run.network,
        "depth": run.depth,
        "seed": run.seed,
        "status": "interrupted",
        "run": run.model_dump(mode="json"),
    }


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
