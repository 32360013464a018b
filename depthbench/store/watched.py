"""The results directory of runs that `depthbench.watch` records."""

from depthbench.errors import BadInput
from depthbench.files import remove_partial_files
from depthbench.store.settings import conflicts
from depthbench.store.study_store import JOIN_SECONDS, StudyStore
from depthbench.study.file import build
from depthbench.study.grid import grids_of, join_grids
from depthbench.study.watched import WatchedNetwork, WatchedRun, WatchedStudy


def join(store: StudyStore, run: WatchedRun) -> None:
    """Add `run` to what study.toml lists, and create the directory if needed.

    Several processes can do this at the same time. Raises BadInput if the directory holds other results or
    runs of `watch` with other settings, or if it cannot be written."""
    source = f"watch: {store.location}"
    name = store.path.resolve().name if store.remote is None else store.location.name
    new = build(WatchedStudy, WatchedStudy.values_of(run, name), source)
    store.fetch()
    store.holds_a_study()  # refuses a directory with anything else, before locking it
    with store.locked(JOIN_SECONDS):
        store.replace((_joined(store, new) if store.holds_a_study() else new).to_toml())


def _joined(store: StudyStore, new: WatchedStudy) -> WatchedStudy:
    stored = store.table()
    if "watched" not in stored:
        raise BadInput(
            f"{store.location} holds runs of `depthbench run`, which a loop of your own cannot join: use "
            "another directory"
        )
    remove_partial_files(store.path)
    if different := conflicts(stored, new.table()):
        raise BadInput(
            f"{store.location} holds runs with other settings ({', '.join(different[:3])}): use the same "
            "settings or another directory"
        )
    watched = {
        name: build(WatchedNetwork, facts, str(store.study_file)) for name, facts in stored["watched"].items()
    }
    first, *also = join_grids([*grids_of(stored), new.grid])
    return new.model_copy(
        update={"name": stored["name"], "grid": first, "also": also, "watched": watched | new.watched}
    )
