"""The plan of a study: which runs to train, where and how, checked before anything is written."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from depthbench.data.images import with_validation
from depthbench.data.labelled import Labelled
from depthbench.data.load import default_data_dir, load_images
from depthbench.errors import BadInput
from depthbench.execution.backends import backend_of
from depthbench.execution.backends.entry import BackendEntry
from depthbench.execution.checks import (
    check_builders,
    check_data,
    check_importable,
    check_measurable,
    check_settings,
    check_writable,
)
from depthbench.execution.cost.images import ImageFootprint, measure_footprint
from depthbench.execution.cost.order import by_cost
from depthbench.execution.depths import DepthChoice, choose_depths
from depthbench.execution.plugin_checks import check_plugins
from depthbench.execution.settings import Execution
from depthbench.execution.shards import shard_of
from depthbench.execution.sharing import choose_device, share
from depthbench.paths import expand
from depthbench.store.study_store import StudyStore
from depthbench.study.model import Run, Study
from depthbench.study.without_effect import notes_on_options
from depthbench.training.mode import TrainingMode

Decoding = Callable[[int, int], None]
"""Called with (images decoded, images in all) while a folder is read."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A checked study, and how this machine executes it."""

    study: Study
    """Resolved: its number of steps is known."""
    execution: Execution
    """As chosen. The values that it leaves open are decided below."""
    store: StudyStore
    data: Labelled
    data_hash: str
    footprint: ImageFootprint
    finished: tuple[Run, ...]
    """Of the shard, if the study is split (Execution.shard)."""
    todo: tuple[Run, ...]
    """The most expensive runs first, so that no long run is left for the end."""
    notes: tuple[str, ...]
    """Messages for the user before training starts."""
    device: str
    jobs: int
    """Number of runs at once."""
    threads: int
    """Threads of each run."""
    lanes: int = 1
    """Number of runs that take turns in one process (lanes.py)."""
    measures_lanes: bool = False
    """Whether fewer lanes are used where they measure faster."""
    recompute: frozenset[str] = frozenset()
    """Ids of the runs that compute their activations twice."""
    depth_choice: DepthChoice | None = None
    """The depths that were chosen, if the study left them open."""

    @property
    def backend(self) -> BackendEntry:
        """The backend that executes the runs."""
        return backend_of(self.execution.backend)

    def mode_of(self, run: Run) -> TrainingMode:
        """Return the mode in which `run` is trained."""
        return TrainingMode(
            device=self.device,
            step_mode=self.execution.step_mode,
            recompute=run.run_id in self.recompute,
            is_streamed=None if self.backend.is_elsewhere else self.footprint.are_streamed,
            keep_checkpoint=self.study.keep_checkpoints,
            keep_weights=self.execution.kept_weights,
            needs_weights=self.execution.needs_weights,
        )


def make_plan(
    study: Study,
    execution: Execution,
    *,
    executes: bool = True,
    decoding: Decoding = lambda done, total: None,
) -> Plan:
    """Return the plan of `study` on this machine.

    Reads the images, after downloading or decoding them if necessary, but writes nothing to the results
    directory. Raises BadInput for anything that cannot be used. If `executes` is false, the plan is only
    costed. Then a cluster is refused, and stored results that the study cannot join count as absent."""
    device = choose_device(execution)
    check_settings(study, execution, device)
    if not executes:
        check_measurable(execution)
    elif backend_of(execution.backend).is_ours:
        check_importable(study)
    check_builders(study)
    store = StudyStore(execution.results / study.name)
    if executes:
        check_writable(store.location)
    store.fetch()
    images, image_notes = _read_images(study, execution.data_dir, decoding, executes)
    check_data(study, images.task)
    study, choice = choose_depths(study, images)
    chosen = choice.notes if choice else ()
    image_notes = (*image_notes, *chosen, *notes_on_options(study), *check_plugins(study, images))
    data_hash = images.content_hash()
    resolved = _resolve_study(study, images)
    joined = store.with_stored_evaluation(resolved, study.evaluate)
    problem = None if execution.fresh else _problem_of_joining(joined, store, data_hash)
    if problem is not None and executes:
        raise problem
    if execution.fresh or problem is not None:
        study, stored = resolved, _Stored((), by_cost(_runs_of_shard(resolved, execution)), ())
    else:
        study, stored = joined, _sort_runs(_runs_of_shard(joined, execution), store, execution)
    if problem is not None:
        image_notes = (*image_notes, f"stored results are ignored: {problem}")
    here = "cpu" if backend_of(execution.backend).is_elsewhere else device
    footprint = measure_footprint(images, study.evaluate.train_size, here)
    shared = share(study, execution, device, footprint)
    runs = (*stored.finished, *stored.todo)
    jobs = max(1, min(shared.jobs, len(runs)))
    return Plan(
        study=study,
        execution=execution,
        store=store,
        data=images,
        data_hash=data_hash,
        footprint=footprint,
        finished=stored.finished,
        todo=stored.todo,
        notes=(
            *_shard_notes(study, execution, len(runs)),
            *image_notes,
            *stored.notes,
            *(shared.fit.notes if stored.todo else ()),
        ),
        device=device,
        jobs=jobs,
        threads=shared.threads,
        lanes=jobs if shared.takes_turns else 1,
        measures_lanes=shared.takes_turns and execution.jobs is None,
        recompute=frozenset(run.run_id for run in runs if (run.network, run.depth) in shared.fit.recomputed),
        depth_choice=choice,
    )


def _read_images(
    study: Study, data_dir: Path | None, decoding: Decoding, executes: bool
) -> tuple[Labelled, tuple[str, ...]]:
    """Return the images of `study`, and notes.

    A plan that is only costed uses a stand-in for a published data set that is not downloaded."""
    folder = default_data_dir() if data_dir is None else expand(data_dir)
    try:
        images = load_images(study.data, folder, decoding)
        return images, images.notes
    except BadInput:
        from depthbench.data.vision import PUBLISHED, stand_in

        if executes or study.data.path is not None or study.data.name not in PUBLISHED:
            raise
    images = with_validation(stand_in(study.data.name), study.data)
    return images, (f"{study.data.name} is not downloaded, so the plan uses its published number of images",)


def _resolve_study(study: Study, images: Labelled) -> Study:
    """Return `study` with the settings filled in that depend on its images.

    Raises BadInput if the images do not allow them."""
    validation_size = 0 if images.val_y is None else len(images.val_y)
    resolved = study.resolve(len(images.train_y), images.flips, len(images.test_y) + validation_size)
    resolved = _limit_evaluation(resolved, images, is_chosen=study.evaluate.train_size is not None)
    recipes = [resolved.recipe_of(network) for network in resolved.networks()]
    batch_size, train_size = max(recipe.batch_size for recipe in recipes), len(images.train_y)
    if batch_size > train_size:
        raise BadInput(
            f"recipe.batch_size = {batch_size}: the training set has only {train_size} {images.noun}; "
            f"use a --batch-size of at most {train_size}"
        )
    if images.val_y is None and any(recipe.patience is not None for recipe in recipes):
        raise BadInput("recipe.patience needs a validation set: add e.g. --set val_fraction=0.1")
    return resolved


def _limit_evaluation(study: Study, images: Labelled, *, is_chosen: bool) -> Study:
    """Return the resolved `study`, evaluated on all training images if a part cannot be drawn by class.

    Raises BadInput instead if the user chose the size of that part (`is_chosen`)."""
    size = study.evaluate.train_size
    if size is None:
        return study
    try:
        images.draw(size, study.data.split_seed)
    except BadInput as error:
        if is_chosen:
            raise BadInput(f"evaluate.train_size = {size}: {error}") from None
        return study.model_copy(update={"evaluate": study.evaluate.model_copy(update={"train_size": None})})
    return study


@dataclass(frozen=True)
class _Stored:
    """The runs of a study, by whether they are finished."""

    finished: tuple[Run, ...]
    todo: tuple[Run, ...]
    notes: tuple[str, ...]


def _problem_of_joining(study: Study, store: StudyStore, data_hash: str) -> BadInput | None:
    """Return why `study` cannot join what is stored, or None if it can."""
    try:
        store.check(study, data_hash)
    except BadInput as error:
        return error
    return None


def _runs_of_shard(study: Study, execution: Execution) -> Iterable[Run]:
    """Return the runs of the study's shard, or all of them if it is not split."""
    return study.runs() if execution.shard is None else shard_of(study.runs(), *execution.shard)


def _shard_notes(study: Study, execution: Execution, runs: int) -> tuple[str, ...]:
    if execution.shard is None:
        return ()
    index, count = execution.shard
    return (f"shard {index} of {count}: {runs} of the study's {sum(1 for _ in study.runs())} runs",)


def _sort_runs(runs: Iterable[Run], store: StudyStore, execution: Execution) -> _Stored:
    """Separate finished runs from those to train."""
    without_weights = 0
    notes: list[str] = []
    finished: list[Run] = []
    todo: list[Run] = []
    for run in runs:
        run_store = store.run(run.run_id)
        if run_store.is_finished():
            if execution.needs_weights and run_store.lacks_weights(execution.kept_weights):
                without_weights += 1
                todo.append(run)
            else:
                finished.append(run)
            continue
        todo.append(run)
        record = run_store.read()
        if run_store.unreadable_file() is not None:
            continue  # training it fails with the reason
        if record is None and os.path.exists(run_store.record_file):
            notes.append(f"{run.run_id}: run.json is damaged, so it is trained again")
        elif record is not None and record.is_finished:
            notes.append(f"{run.run_id}: its tables are damaged, so it is trained again")
    if without_weights:
        runs_are = "finished run lacks" if without_weights == 1 else "finished runs lack"
        notes.append(
            f"{without_weights} {runs_are} the weights of --keep-weights {execution.keep_weights}: training "
            "again, and the stored results stay until the weights are complete"
        )
    return _Stored(tuple(finished), by_cost(todo), tuple(notes))
