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
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock

from depthbench.data.settings import NOT_OF_THE_RESULT
from depthbench.errors import BadInput
from depthbench.files import write_text
from depthbench.store.run_store import RunStore
from depthbench.study.file import check_format, load_study
from depthbench.study.grid import grids_of, united
from depthbench.study.model import Frontier, Shared, Study, Variant, Verdict


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
        first, *also = united([*grids_of(stored), study.grid, *study.also])
        plugins = list(dict.fromkeys([*stored.get("plugins", []), *study.plugins]))
        variants = {name: Variant(**v) for name, v in stored.get("variants", {}).items()} | study.variants
        grown = {"grid": first, "also": also, "plugins": plugins, "variants": variants}
        if stored.get("verdict"):  # it was stated before the runs
            grown["verdict"] = Verdict(**stored["verdict"])
        if study.frontier is None and "frontier" in stored:
            grown["frontier"] = Frontier(**stored["frontier"])
        return study.model_copy(update=grown)


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
