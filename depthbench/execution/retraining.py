"""Train finished runs again to get weights that they did not keep.

Each is trained in a separate folder, so that the stored results stay until the weights are complete."""

from collections.abc import Callable

from depthbench.store.record import Record
from depthbench.store.run_store import RunStore
from depthbench.training.mode import TrainingMode

OTHER_RESULTS = "training it again for its weights gave other results, which replace the stored ones"
DIVERGED = "it diverged when it was trained again for its weights; the stored results stay, without weights"


def store_to_train(store: RunStore, mode: TrainingMode) -> RunStore | None:
    """Return where a run is trained: in its own store or, if it is finished and lacks weights, in another.

    None if it is not to be trained. If its weights were trained before, but not stored yet, they are now."""
    trained = store.again().read()
    if trained is not None and trained.status == "done" and store.again().is_finished():
        store.adopt_weights()
    if not store.is_finished():
        return store
    is_lacking = mode.needs_weights and store.lacks_weights(mode.keep_weights)
    return store.again() if is_lacking else None


def store_weights(
    store: RunStore, trained: RunStore, record: Record, notify: Callable[[str], None]
) -> Record:
    """Store the weights of a run that ended with `record` in `trained`, and return its record in `store`.

    If the run was trained in `store`, they are there already. Calls `notify` if the results are not those
    stored before."""
    if trained is store or not record.is_finished:
        return record
    if record.status == "diverged":
        notify(DIVERGED)
        before = store.read()
        if before is not None:
            store.write(before.changed(no_weights=DIVERGED))
        store.forget_again()
    elif not store.adopt_weights():
        notify(OTHER_RESULTS)
    return store.read() or record
