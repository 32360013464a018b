"""What is to be executed, where and how, checked before anything is written."""

import contextlib
import ctypes
import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from depthbench.data.images import Images, split, with_validation
from depthbench.data.load import default_data_dir, load_images
from depthbench.errors import BadInput
from depthbench.execution.cost.memory import Sizes, fit, sizes
from depthbench.machine.environment import cores_each, usable_cores
from depthbench.store.study_store import StudyStore
from depthbench.study.model import Run, Study
from depthbench.training.kinds import STEPS

MOST_LANES = 4  # runs that share a GPU, unless a person asks for more


@dataclass(frozen=True)
class Plan:
    """A checked study, and how this machine will run it."""

    study: Study  # resolved: its length in steps is known
    store: StudyStore
    device: str
    jobs: int
    threads: int  # of each job
    data: Images
    data_hash: str
    fresh: bool
    images: Sizes
    recompute: frozenset[str]  # ids of the runs that compute their activations twice
    skipped: tuple[str, ...]  # unreadable images that were left out
    finished: tuple[Run, ...]
    todo: tuple[Run, ...]  # the costliest first, so that no long run is left for the end
    notes: tuple[str, ...]  # what a person should know before it starts
    step: str = "auto"  # how updates are made: see training.trainer.Trainer
    lanes: int = 1  # runs that take turns in one process
    measures_lanes: bool = False  # whether fewer are taken where that measures faster (sharing.py)


def prepare(
    study: Study,
    results: str | Path = "results",
    *,
    device: str = "auto",
    jobs: int | None = None,
    recompute: bool | None = None,
    step: str = "auto",
    data_dir: str | Path | None = None,
    fresh: bool = False,
    executes: bool = True,
    decoding: Callable[[int, int], None] = lambda done, total: None,
) -> Plan:
    """The plan of `study` on this machine. Reads the data (and downloads or decodes it at first); writes
    nothing to `results`. Raises BadInput for whatever cannot be used.

    recompute: whether runs compute their activations twice; None: those of which one alone would not fit the
    memory. step: how updates are made (training/trainer.py). executes: whether the plan is to be
    executed; if not, results that it could not join only mean that none of its runs is done."""
    device = resolve_device(device)
    if step not in STEPS:
        raise BadInput(f"--step {step}: use {', '.join(STEPS[:-1])} or {STEPS[-1]}")
    if step == "compiled":
        _check_fuses(study)
    if step in ("captured", "compiled") and not device.startswith("cuda"):
        raise BadInput(f"--step {step} needs a CUDA device, and this is {device}: use auto or eager")
    recipes = {network: study.recipe_of(network) for network in study.networks()}
    if any(recipe.precision == "tf32" for recipe in recipes.values()) and not device.startswith("cuda"):
        raise BadInput(f"--precision tf32 needs a CUDA device, and this is {device}: use fp32 or bf16")
    if jobs is not None and jobs < 1:
        raise BadInput(f"--jobs {jobs}: at least 1")
    _check_options(study)
    store = StudyStore(Path(results) / study.name)
    if executes:
        _check_writable(store.path)
    data_dir = Path(data_dir).expanduser() if data_dir is not None else default_data_dir()
    images, notes = _images(study, data_dir, decoding, executes)
    others = len(images.test_y) + (0 if images.val_y is None else len(images.val_y))
    is_chosen = study.evaluate.train_size is not None
    study = study.resolve(len(images.train_y), images.flips, others)
    study = _with_evaluation(study, images, is_chosen)
    batch, there = max(recipe.batch_size for recipe in recipes.values()), len(images.train_y)
    if batch > there:
        raise BadInput(
            f"recipe.batch_size = {batch}: the training set has {there} images; use a --batch-size up to that"
        )
    if images.val_y is None and any(recipe.patience is not None for recipe in recipes.values()):
        raise BadInput("recipe.patience needs a validation set: set data.val_fraction")
    data_hash = images.content_hash()
    finished, todo = [], []
    try:
        store.check(study, data_hash, fresh)
    except BadInput as error:
        if executes:
            raise
        fresh = True
        notes.append(f"what is stored does not count: {error}")
    for run in study.runs():
        run_store = store.run(run.run_id)
        if fresh or not run_store.is_finished():
            todo.append(run)
        else:
            finished.append(run)
        record = None if fresh else run_store.read()
        if record is not None and record["status"] in ("done", "diverged") and run in todo:
            notes.append(f"{run.run_id}: its tables cannot be read; it is trained again")
    todo.sort(key=lambda run: -run.depth)
    is_chosen = jobs is not None
    runs = [*finished, *todo]
    in_turns = device.startswith("cuda") and step != "eager" and can_take_turns(study)
    # the rounds of a search have more runs and fewer, and are to compute alike
    together = len(runs) if study.frontier is None else max(len(runs), usable_cores())
    jobs, _ = share_cores(device, together, jobs if is_chosen or not in_turns else MOST_LANES)
    found = sizes(images, study.evaluate.train_size, device)
    fitting = fit(runs, found, device, jobs, is_chosen=is_chosen, recompute=recompute, in_turns=in_turns)
    jobs, threads = share_cores(device, together, fitting.jobs)
    twice = (run.run_id for run in runs if (run.network, run.depth) in fitting.recomputed)
    return Plan(
        study,
        store,
        device,
        jobs,
        threads,
        images,
        data_hash,
        fresh,
        found,
        frozenset(twice),
        images.skipped,
        tuple(finished),
        tuple(todo),
        (*notes, *(fitting.notes if todo else ())),
        step,
        lanes=jobs if in_turns else 1,
        measures_lanes=in_turns and not is_chosen,
    )


def resolve_device(device: str) -> str:
    """`auto` -> the best there is (CUDA, else the CPU); others are checked. Raises BadInput."""
    if device == "cpu" or (device == "auto" and not _has_gpu_driver()):
        return "cpu"
    kind, _, index = device.partition(":")
    if kind not in ("auto", "cuda", "mps") or (index and (kind != "cuda" or not index.isdigit())):
        raise BadInput(f"--device {device}: use auto, cpu, cuda, cuda:0, cuda:1, ... or mps")
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "auto":
        return "cuda:0" if count else "cpu"
    if kind == "mps":
        if not torch.backends.mps.is_available():
            raise BadInput("--device mps: no Apple GPU can be used here; use --device cpu")
        return device
    if int(index or 0) >= count:
        have = f"{count} CUDA devices" if count else "no CUDA device"
        raise BadInput(f"--device {device}: torch {torch.__version__} sees {have} here; use --device cpu")
    return f"cuda:{index or 0}"


def _has_gpu_driver() -> bool:
    """Whether torch may find a CUDA or ROCm device; told without torch, which takes a second to import."""
    with contextlib.suppress(OSError):
        ctypes.CDLL("libcuda.so.1")
        return True
    return Path("/dev/kfd").exists()


def share_cores(device: str, runs: int, jobs: int | None) -> tuple[int, int]:
    """(jobs, threads of each) for a study of so many runs, whether or not some are done: what a run
    computes depends in its last digits on the number of threads, and should not on when it is run.

    On a CPU one thread a run and as many runs as cores is fastest for networks this small; on a GPU one run
    at a time, unless they take turns (sharing.py)."""
    cores = usable_cores()
    if jobs is None:
        jobs = cores if device == "cpu" else 1
    jobs = max(1, min(jobs, runs))
    return jobs, cores_each(jobs)


def can_take_turns(study: Study) -> bool:
    """Whether runs of `study` in one process are each as if alone. Those that draw random numbers as they
    train, by dropout or in a plug-in's own way, would share a generator; and TF32 is of a whole process."""
    names = study.networks()
    draw = any(study.options_of(name).dropout or study.options_of(name).shortcut_dropout for name in names)
    rounds_alike = len({study.recipe_of(name).precision == "tf32" for name in names}) == 1
    return rounds_alike and not draw and all(study.family(name).is_ours for name in names)


def _check_options(study: Study) -> None:
    """Raise BadInput where a plug-in's builder does not take an option that the study sets. Ours take all,
    and importing torch to see it would make every start slower."""
    for name in study.networks():
        family, chosen = study.family(name), study.options_of(name).model_dump(exclude_defaults=True)
        if family.is_ours:
            continue
        try:
            signature = inspect.signature(family.load())
            signature.bind(**{**family.options, **chosen, "depth": 1, "in_channels": 1, "num_classes": 2})
        except TypeError as error:
            raise BadInput(
                f"network {name!r} cannot be built as {name}(depth=, in_channels=, num_classes=, "
                f"{', '.join(chosen)}): {error}"
            ) from None


def _check_fuses(study: Study) -> None:
    """Raise BadInput where the study has a network of ours that has nothing to compile."""
    for name in study.networks():
        if not study.family(name).fuses:
            raise BadInput(f"--step compiled: network {name!r} cannot be compiled; use captured")


def _images(
    study: Study, data_dir: Path, decoding: Callable[[int, int], None], executes: bool
) -> tuple[Images, list[str]]:
    """The images of `study`, and what there is to say of them. To count what a study costs, a published data
    set need not be there."""
    try:
        return load_images(study.data, data_dir, decoding), []
    except BadInput:
        from depthbench.data.vision import PUBLISHED, stand_in

        if executes or study.data.path is not None or study.data.name not in PUBLISHED:
            raise
    images = with_validation(stand_in(study.data.name), study.data)
    return images, [f"{study.data.name} is not here: counted by its published numbers of images"]


def _with_evaluation(study: Study, images: Images, is_chosen: bool) -> Study:
    """`study`, resolved, with a train error that can be taken on as many images as it says. Where the person
    chose the number (`is_chosen`), raises BadInput if it cannot; else all images are taken."""
    size = study.evaluate.train_size
    if size is None:
        return study
    try:
        split(images.train_y, size, study.data.split_seed)
    except BadInput as error:
        if is_chosen:
            raise BadInput(f"evaluate.train_size = {size}: {error}") from None
        return study.model_copy(update={"evaluate": study.evaluate.model_copy(update={"train_size": None})})
    return study


def _check_writable(path: Path) -> None:
    """Raise BadInput unless `path` can be made and written; makes nothing."""
    there = path
    while not there.exists():
        there = there.parent
    if not there.is_dir():
        raise BadInput(f"results directory {path}: {there} is a file; give another --results DIR")
    if not os.access(there, os.W_OK | os.X_OK):
        raise BadInput(f"results directory {path}: {there} is not writable; give another --results DIR")
