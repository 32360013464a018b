"""Made-up results, stored as a study stores them: their numbers are known."""

import math

import numpy as np
import pandas as pd
import pytest

from depthbench import load_study
from depthbench.report.evidence import Comparison, Evidence, with_columns
from depthbench.store.record import Record
from depthbench.store.results import Results, load_results
from depthbench.store.study_store import StudyStore
from depthbench.study.model import Run, Study

# The figures of `whole` and of `partial`. Other figures need a search, or tables that only some runs have.
DRAWN = (
    "degradation",
    "curves",
    "reach",
    "paper_errors",
    "choice",
    "gradient_preact",
    "gradient_weight",
    "first_steps",
    "heatmap_preact",
    "heatmap_weight",
    "response_std",
)
STEPS = 200
PROBED = (0, 1, 10, 100, 199)
CHANCE = 90.0


def evidence_of(results: Results, study: Study | None = None, **analyses) -> Evidence:
    """Return evidence of results in memory. `analyses` replace what it would compute or load, by name."""
    evidence = Evidence(with_columns(results), (study or study_of()).model_dump())
    vars(evidence).update(analyses)
    return evidence


def study_of(networks=("plain", "resnet"), depths=(8, 14, 20), seeds=(0, 1, 2), **settings) -> Study:
    grid = {"network": list(networks), "depth": list(depths), "seed": list(seeds)}
    recipe = {"steps": STEPS, "flip": False}
    return Study.model_validate({"name": "made-up", "grid": grid, "recipe": recipe, **settings})


def final_errors(run: Run) -> tuple[float, float]:
    """Return train and test error (percent): per layer, plain gets 0.5 worse and resnet 0.1 better.

    In a sweep, the best learning rate of plain networks is 0.8 / depth, and that of residual ones 0.1."""
    slope = 0.5 if run.family == "plain" else -0.1
    train = 2 + slope * (run.depth - 8) + 0.4 * run.seed
    if "-lr=" in run.network:
        best = 0.8 / run.depth if run.family == "plain" else 0.1
        train += 15 * math.log10(run.recipe.lr / best) ** 2 + 0.3 * run.seed
    return train, train + 3


def history_of(run: Run, last: int = STEPS) -> list[dict]:
    train, test = final_errors(run)
    rows = []
    for step in range(10, last + 1, 10):
        left = 80 * math.exp(-step / 30)  # error that training has yet to remove, percent
        evaluated = step % 20 == 0
        rows.append(
            {
                **{"step": step, "epoch": step / 10, "lr": 0.1, "loss": 0.01 + left / 40},
                "train_error": train + left + 2,
                "batch_hash": f"order-{run.seed}-{step}",
                "train_error_eval": train + left if evaluated else math.nan,
                "test_error": test + left if evaluated else math.nan,
                "val_error": math.nan,
            }
        )
    if last == STEPS:
        rows[-1] |= {"train_error_eval": train, "test_error": test}
    return rows


def layers_of(run: Run, last: int = STEPS) -> pd.DataFrame:
    """Return layers whose dL/dz falls towards the input, by a factor of 0.7 in plain and 0.98 in resnet."""
    rate = 0.7 if run.network == "plain" else 0.98
    frames = []
    for step in (s for s in PROBED if s < last):
        layer = np.arange(1, run.depth + 1)
        scale = (1 + 0.3 * run.seed) / (1 + step) ** 0.3
        stage = ["conv1", *np.repeat(["1", "2", "3"], (run.depth - 2) // 3), "fc"]
        frames.append(
            pd.DataFrame(
                {
                    **{"step": step, "layer": layer, "name": [f"layer{i}" for i in layer], "stage": stage},
                    "grad_norm_weight": scale * np.ones(run.depth) * 0.1,
                    "grad_norm_preact": scale * rate ** (run.depth - layer.astype(float)),
                    "weight_norm": np.sqrt(layer),
                    "response_std": (1 + 0.1 * run.seed) * (1.5 + np.sin(layer)) / math.sqrt(run.depth),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def store_run(store: StudyStore, run: Run, status: str = "done", last: int = STEPS) -> None:
    """Write a run as training does. `last` is the number of updates made."""
    train, test = final_errors(run)
    final = {"train_error": train + 2, "train_error_eval": train, "test_error": test, "val_error": None}
    final |= {"best_test_error": test - 0.5, "best_step": 180}
    if status == "diverged":
        final |= dict.fromkeys(("train_error", "train_error_eval", "test_error"), CHANCE)
    record = Record.of(
        run,
        parameters=1000 * run.depth,
        multiply_adds=10_000 * run.depth,
        steps=STEPS,
        step=last,
        num_classes=10,
    ).changed(status=status)
    if status == "failed":
        store.run(run.run_id).write(record.changed(reason="OSError: the disk | is full", step=0))
        return
    weights = f"weights-{run.depth}-{run.seed}"
    hashes = {"initial_weights": weights, "batches": f"order-{run.seed}-{last}", "data": "d"}
    environment = {"python": "3.12.3", "torch": "2.11.0", "device": "cpu (made up)", "commit": "abc123"}
    timing = {"seconds": 12.5, "images_per_second": 100.0}
    record = record.changed(final=final, hashes=hashes, environment=environment, timing=timing)
    store.run(run.run_id).write(record)
    store.run(run.run_id).write_rows(history_of(run, last), layers_of(run, last))


def store_study(path, study: Study, endings: dict | None = None):
    """Store every run of `study`, and return `path`.

    endings: (network, depth, seed) -> (status, updates), or None for a run that is not stored. Other runs are
    done."""
    store = StudyStore(path)
    with store.opened(study, "datahash"):
        for run in study.runs():
            ending = (endings or {}).get((run.network, run.depth, run.seed), ("done", STEPS))
            if ending is not None:
                store_run(store, run, *ending)
    return path


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """Results in which every run is done."""
    return store_study(tmp_path_factory.mktemp("whole") / "made-up", study_of())


@pytest.fixture(scope="session")
def swept(tmp_path_factory):
    """Results of a sweep over the learning rate. The runs of plain networks at the highest one diverged."""
    grids = {"network": ["plain", "resnet"], "depth": [8, 14, 20], "seed": [0, 1, 2]}
    recipe = {"steps": STEPS, "flip": False}
    rates = [0.01, 0.03, 0.1, 0.3, 1.0]
    study = load_study("quick", name="made-up", grid=grids, recipe=recipe, sweep={"lr": rates})
    endings = {("plain-lr=1", depth, seed): ("diverged", 60) for depth in (14, 20) for seed in range(3)}
    return store_study(tmp_path_factory.mktemp("swept") / "made-up", study, endings)


@pytest.fixture(scope="session")
def partial(tmp_path_factory):
    """Results in which one run diverged, one failed, one was interrupted, and one was not started."""
    endings = {
        ("plain", 20, 2): ("diverged", 60),
        ("plain", 14, 1): ("failed", 0),
        ("resnet", 20, 1): ("interrupted", 120),
        ("resnet", 20, 2): None,
    }
    return store_study(tmp_path_factory.mktemp("partial") / "made-up", study_of(), endings)


@pytest.fixture(scope="session")
def other(tmp_path_factory):
    """Results like `whole`, with another initialisation and one depth fewer."""
    study = study_of(depths=(8, 20), options={"init": "xavier"})
    return store_study(tmp_path_factory.mktemp("other") / "xavier", study)


@pytest.fixture(scope="session")
def results(whole):
    return load_results(whole)


@pytest.fixture(scope="session")
def many_studies(results) -> Comparison:
    return Comparison(dict.fromkeys("abcdefg", evidence_of(results)))


@pytest.fixture(scope="session")
def compared(whole, partial, other):
    """A comparison of three studies."""
    paths = {"whole": whole, "partial": partial, "other": other}
    return Comparison({label: Evidence.load(path) for label, path in paths.items()})


@pytest.fixture(scope="session")
def partial_results(partial):
    return load_results(partial)


@pytest.fixture(scope="session")
def validated(results):
    """Results with validation errors one point above the test errors, and with measured peak memory.

    plain-8 is the cheapest."""
    runs = results.runs
    memory = runs["multiply_adds"] * 1000.0
    return results._replace(
        runs=runs.assign(val_error=runs["test_error"] + 1, peak_memory=memory, peak_memory_of="process")
    )
