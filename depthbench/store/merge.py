"""Join results directories, for example of machines without a shared disk."""

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import tomli_w

from depthbench.data.settings import NOT_IN_RUN_ID
from depthbench.errors import BadInput
from depthbench.files import write_text
from depthbench.store.mirror import shown
from depthbench.store.plugin_copies import read_copies, write_copies
from depthbench.store.run_store import LOCK, LOCK_SECONDS, RunIsBusy, RunStore
from depthbench.store.settings import differences
from depthbench.store.study_store import MERGING, StudyStore
from depthbench.study.file import build
from depthbench.study.grid import Grid, Grids, join_grids
from depthbench.study.model import file_name
from depthbench.text import single_line

MOST_DIFFERENCES = 3  # in a message
HOW_IT_RAN = (
    *("environment", "earlier_environments", "execution", "timing", "tables", "reason"),
    *("weights", "no_weights", "keeps_checkpoint"),
)
"""Keys of a record that may differ between two copies of the same result."""

Notify = Callable[[str], None]


def _print(message: str) -> None:
    print(f"depthbench: {single_line(message)}", file=sys.stderr)


def merge_results(sources: Sequence[str | Path], into: str | Path, *, notify: Notify = _print) -> Path:
    """Copy the runs of several results directories into one. Return its path (for a URL, that of its mirror).

    The directories must have the same settings, images and plug-ins; their grids may differ. `into` may exist
    and may be one of `sources`. Settings that concern all runs alike, such as the margin of the verdict, come
    from `into` if it exists and else from the first source. The sources are not changed.

    A run that several directories have is copied once. A finished copy is preferred to an unfinished one,
    and one with weights to one without. Of unfinished copies, the one with the most steps is copied.
    Damaged runs are skipped. notify: called with a line about each of them.

    Raises BadInput before anything is written if the directories do not belong together, if two of them have
    different results of the same run, or if another process writes to one of them."""
    target = StudyStore(into, "--into DIR")
    target.fetch()
    stores = [target] if target.study_file.exists() else []
    for source in map(StudyStore, sources):
        if all(not _is_same(store.path, source.path) for store in stores):
            _fetch_with_checkpoints(source)
            stores.append(source)
    if not sources:
        raise BadInput("no results directory to merge: name at least one")
    _check_target(target, stores)
    with target.locked() if target in stores else contextlib.nullcontext():
        study = _join(stores, target)
        runs = _choose(stores, notify)
        with contextlib.nullcontext() if target in stores else target.locked():
            if target not in stores and target.study_file.exists():
                problem = f"{target.location} was created by another process just now"
                raise BadInput(f"{problem}: rerun this command")
            _write(study, runs, target, notify)
            for store in stores:
                write_copies(target.path, read_copies(store.path))
            target.push_plugins()
    return target.path


def _fetch_with_checkpoints(source: StudyStore) -> None:
    """Bring the mirror of a URL up to date, with the states of unfinished runs."""
    source.fetch()
    for run in source.run_stores() if source.remote is not None else ():
        if not run.is_finished() and not run.is_locked_here() and run.remote is not None:
            run.remote.pull_run(run.path.name)


def _is_same(first: Path, second: Path) -> bool:
    return first.resolve() == second.resolve()


def _check_target(target: StudyStore, stores: Sequence[StudyStore]) -> None:
    """Raise BadInput if runs cannot be copied to `target`."""
    target.holds_a_study()  # refuses a directory of anything else
    here = target.path.resolve()
    for store in stores:
        there = store.path.resolve()
        if here != there and (here in there.parents or there in here.parents):
            names = f"{target.location} and {store.location}"
            raise BadInput(f"{names}: one contains the other; use another --into DIR")


def _join(stores: Sequence[StudyStore], target: StudyStore) -> dict[str, Any]:
    """Return the study.toml of all directories together. Raises BadInput if they do not belong together."""
    tables = [store.table() for store in stores]
    joined = dict(tables[0])
    for store, table in zip(stores[1:], tables[1:], strict=True):
        if different := differences(tables[0], table):
            listed = [f"{key} is {there} and {here}" for key, there, here in different[:MOST_DIFFERENCES]]
            more = [f"{len(different) - MOST_DIFFERENCES} more"] if len(different) > MOST_DIFFERENCES else []
            raise BadInput(
                f"{stores[0].location} and {store.location} have different settings, so they cannot be "
                f"merged: {'; '.join([*listed, *more])}"
            )
        for key in ("variants", "watched"):
            if key in table:
                joined[key] = table[key] | joined.get(key, {})
        for key in ("data_hash", "frontier", "verdict"):
            if key in table:
                joined.setdefault(key, table[key])
    _check_runs(stores, joined.get("data_hash", ""))
    first, *also = join_grids(
        [grid for store, table in zip(stores, tables, strict=True) for grid in _grids(store, table)]
    )
    joined["grid"], joined["also"] = first.model_dump(), [grid.model_dump() for grid in also]
    for key in ("plugins", "may_diverge"):
        joined[key] = list(dict.fromkeys(value for table in tables for value in table.get(key, [])))
    if stores[0] is not target:
        try:
            joined["name"] = file_name(target.path.resolve().name)
        except ValueError as error:
            raise BadInput(
                f"{target.location}: the name of the directory, which names the study, {error}"
            ) from None
    return joined


def _grids(store: StudyStore, table: dict[str, Any]) -> list[Grid]:
    stored = {key: table[key] for key in ("grid", "also") if key in table}
    grids: Grids = build(Grids, stored, str(store.study_file))
    return [grids.grid, *grids.also]


def _check_runs(stores: Sequence[StudyStore], data_hash: str) -> None:
    """Raise BadInput if runs used different images, or different versions of a plug-in."""
    plugins: dict[str, tuple[str, StudyStore]] = {}
    for store in stores:
        for record in store.records():
            plugin, first = plugins.setdefault(record.network, (record.plugin, store))
            if plugin != record.plugin:
                raise BadInput(
                    f"{first.location} and {store.location} have runs of {record.network} by different "
                    "versions of a plug-in, so they cannot be merged"
                )
            if data_hash and record.hashes.data not in (None, data_hash):
                raise BadInput(
                    f"{stores[0].location} and {store.location} cannot be merged: {record.run_id} was "
                    f"trained on other images (the hash is {record.hashes.data[:12]}, not {data_hash[:12]})"
                )


def _choose(stores: Sequence[StudyStore], notify: Notify) -> list[RunStore]:
    """Return the copy to keep of each run. Raises BadInput if two results of a run differ."""
    copies: dict[str, list[RunStore]] = {}
    for store in stores:
        for run_store in store.run_stores():
            if run_store.is_locked():
                name = shown(run_store.path)
                raise BadInput(f"{name}: another process is writing to it; wait until it ends")
            if run_store.read() is None:
                notify(f"{shown(run_store.path)}: run.json cannot be read; skipping the run")
            else:
                copies.setdefault(run_store.path.name, []).append(run_store)
    chosen = (_choose_copy(of_run, notify) for of_run in copies.values())
    return [run_store for run_store in chosen if run_store is not None]


def _choose_copy(copies: Sequence[RunStore], notify: Notify) -> RunStore | None:
    """Return the best copy of a run, or None if all are damaged."""
    finished: list[RunStore] = []
    unfinished: list[tuple[bool, int, RunStore]] = []
    for copy in copies:
        record = copy.read()
        if copy.is_finished():
            finished.append(copy)
        elif record is None or record.is_finished:
            notify(f"{shown(copy.path)}: its tables cannot be read; skipping the run")
        else:
            unfinished.append((copy.checkpoint.exists(), record.step or 0, copy))
    for other in finished[1:]:
        if different := _difference(finished[0], other):
            raise BadInput(
                f"{shown(finished[0].path)} and {shown(other.path)} are different results of the same run "
                f"({different} differ): delete one of them"
            )
    if finished:
        return max(finished, key=_kept_weights)
    return max(unfinished, key=lambda copy: copy[:2])[2] if unfinished else None


def _kept_weights(copy: RunStore) -> int:
    """Return how many files of weights a copy has."""
    record = copy.read()
    return 0 if record is None else sum((copy.path / name).is_file() for name in record.weights)


def _difference(first: RunStore, second: RunStore) -> str | None:
    """Return the parts in which two finished copies of a run differ, or None if they are the same result."""
    one, two = _content(first), _content(second)
    if different := [key for key in one | two if one.get(key) != two.get(key)]:
        return ", ".join(different)
    names = [{file.stem for file in store.path.glob("*.parquet")} for store in (first, second)]
    for name in sorted(names[0] | names[1]):
        if not all(name in of_one for of_one in names) or not first.frame(name).equals(second.frame(name)):
            return f"{name}.parquet"
    return None


def _content(store: RunStore) -> dict[str, str]:
    """Return the parts of a record that two copies of the same result share, as JSON."""
    record = store.read()
    assert record is not None
    content = record.model_dump(exclude=set(HOW_IT_RAN))
    data = content["run"].get("data", {})
    content["run"] = content["run"] | {"data": {k: v for k, v in data.items() if k not in NOT_IN_RUN_ID}}
    return {key: json.dumps(value, sort_keys=True) for key, value in content.items()}


def _write(study: dict[str, Any], runs: Sequence[RunStore], target: StudyStore, notify: Notify) -> None:
    """Write study.toml, and copy the runs that are elsewhere.

    study.toml comes first: if the command is killed, rerunning it copies what is missing."""
    write_text(target.study_file, tomli_w.dumps(study))
    if target.remote is not None:
        target.remote.push_study()
    folder = target.path / MERGING
    shutil.rmtree(folder, ignore_errors=True)
    try:
        for run in runs:
            if run.path.parent.parent != target.path:
                _copy(run, target.run(run.path.name), folder, notify)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copy(run: RunStore, to: RunStore, folder: Path, notify: Notify) -> None:
    """Copy a run into `folder`, check the copy, and move it to its place."""
    copy = RunStore(folder / run.path.name)
    copy.path.mkdir(parents=True)
    try:
        with _held(run):
            for file in run.path.iterdir():
                if file.is_file() and not file.is_symlink() and not file.name.startswith("."):
                    shutil.copy2(file, copy.path / file.name)
                    _flush(copy.path / file.name)
        record = copy.read()
        if record is None or (record.is_finished and not copy.is_finished()):
            notify(f"{shown(run.path)}: it changed while it was copied; skipping the run")
            return
        if to.checkpoint.exists() and to.read() is None and not copy.is_finished():
            notify(
                f"{shown(to.path)}: keeping its checkpoint, which may be of a later step than other copies"
            )
            return
        to.path.parent.mkdir(exist_ok=True)
        if to.path.exists():
            with to.locked(LOCK_SECONDS):
                if to.remote is not None:
                    to.remote.remove_run(to.path.name)
                to.path.rename(folder / f"{run.path.name}.replaced")
        copy.path.rename(to.path)
        to.push()
    except RunIsBusy as error:
        notify(f"{error}; skipping the run")


def _held(run: RunStore) -> AbstractContextManager[None]:
    """Hold a run that is copied, unless it cannot be written, e.g. on a read-only disk, or is a mirror."""
    if run.remote is not None:
        return contextlib.nullcontext()
    return run.locked(LOCK_SECONDS) if os.access(run.path / LOCK, os.W_OK) else contextlib.nullcontext()


def _flush(file: Path) -> None:
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
