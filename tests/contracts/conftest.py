"""Made-up studies that give every entry of a report something to show."""

import numpy as np
import pandas as pd
import pytest

from depthbench.analysis.losses import final_losses
from depthbench.analysis.sweep import Sweep, Swept, degradation_at_best, movements, optima
from depthbench.analysis.unmeasured import not_measured
from depthbench.report.evidence import Comparison, Evidence, with_columns
from depthbench.store.results import Results, load_results
from tests.report.conftest import evidence_of, store_study, study_of

CLASSES = ["cat", "dog", "yak"]
ENDINGS = {  # a diverged, a failed and an interrupted run, and one that was not started
    ("plain", 20, 2): ("diverged", 60),
    ("plain", 14, 1): ("failed", 0),
    ("resnet", 20, 1): ("interrupted", 120),
    ("resnet", 20, 2): None,
}


def made_up(folder, endings=None, **grid) -> Evidence:
    """Return evidence of a search with predictions and errors on corrupted images."""
    study = study_of(frontier={"below": 6.0}, **grid)
    results = load_results(store_study(folder / "made-up", study, endings))
    results = results._replace(runs=with_losses(results.runs))
    done = results.runs[results.runs["status"] == "done"]
    return evidence_of(
        results,
        study,
        predictions=predictions(done),
        corrupted_errors=corrupted(done),
        blocks=blocks(done),
        coordinates=coordinates(done),
        sweeps=sweeps(done),
        losses=final_losses(done.assign(predicts="next characters")),
        deviations=deviations(done),
        causes=causes(done),
        not_measured=not_measured([("resnet", 8, 0, {"layer2": "frozen"})]),
    )


def predictions(runs: pd.DataFrame) -> pd.DataFrame:
    """Return one image per class. The image of the first class is predicted as the second."""
    frames = []
    for run in runs[["run_id", "network", "depth", "seed"]].to_dict("records"):
        codes = {"label": [0, 1, 2], "predicted": [1, 1, 2]}
        names = {key: pd.Categorical.from_codes(values, CLASSES) for key, values in codes.items()}
        frames.append(pd.DataFrame(run | names))
    return pd.concat(frames, ignore_index=True)


def corrupted(runs: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        run | {"corruption": "noisy", "strength": strength, "test_error": 5.0 + strength}
        for run in runs[["run_id", "network", "depth", "seed"]].to_dict("records")
        for strength in (0.0, 8.0)
    )


def with_losses(runs: pd.DataFrame) -> pd.DataFrame:
    """Return runs with losses that fall with the depth."""
    loss = 3 - runs["depth"] / 20 + runs["seed"] / 10
    return runs.assign(train_loss_eval=loss, test_loss=loss + 0.1)


def coordinates(runs: pd.DataFrame) -> pd.DataFrame:
    """Return two blocks and logits whose change grows with the depth."""
    return pd.DataFrame(
        run
        | {"step": step, "part": part, "block": block, "blocks": run["depth"]}
        | {"size": 2.0 + run["seed"], "change": step * 0.01 * run["depth"] * (1 + 0.1 * run["seed"])}
        for run in runs[["run_id", "network", "depth", "seed"]].to_dict("records")
        for step in (0, 1, 2)
        for part, block in (("block", 1), ("block", run["depth"]), ("logits", run["depth"]))
    )


def blocks(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the first and the last block of each run, as if all networks were transformers."""
    return pd.DataFrame(
        run
        | {"step": step, "block": block, "sub_layer": kind, "part": part, "branch_share": 0.5}
        | {"grad_norm_weight": (1 + run["seed"]) / run["depth"], "response_std": 1.0 + step}
        for run in runs[["run_id", "network", "depth", "seed"]].to_dict("records")
        for step in (0, 199)
        for block in (1, run["depth"])
        for kind, part in (("attention", "output"), ("mlp", "linear2"))
    )


def sweeps(runs: pd.DataFrame) -> list[Swept]:
    """Return a sweep of learning rates whose best value is lower the deeper the network."""
    cells = pd.concat(
        runs.assign(network=runs["family"], variant=runs["family"], value=rate).assign(
            error=runs["seed"] + 10 * np.log(rate * runs["depth"]) ** 2
        )
        for rate in (0.01, 0.03, 0.1, 0.3)
    )
    sweep = Sweep("recipe.lr", cells.sort_values(["network", "depth", "seed"], kind="stable"))
    best = optima(sweep)
    return [Swept(sweep, best, movements(sweep, best), degradation_at_best(sweep, 1.0, None), False)]


def deviations(runs: pd.DataFrame) -> pd.DataFrame:
    """Return each network as a variant of `base`, with a difference of one point per seed."""
    rows = []
    for error in ("train error", "test error"):
        for (network, depth), group in runs.groupby(["network", "depth"], sort=False):
            d = dict.fromkeys(group["seed"], 1.0) | {0: -0.5}
            row = {"error": error, "network": network, "baseline": "base", "depth": depth, "n": len(d)}
            row |= {"first": 3.0, "other": 4.0, "differences": d, "mean": float(np.mean(list(d.values())))}
            row |= dict.fromkeys(("low", "high", "p", "p_holm"), np.nan)
            rows.append(row | {"diverged": int(depth == 20)})
    return pd.DataFrame(rows)


def causes(runs: pd.DataFrame) -> pd.DataFrame:
    """Return each network as a baseline in which the gradient explodes in some seeds and weights are not
    probed."""
    rows = []
    for network, group in runs.groupby("network", sort=False):
        row = {"network": network, "baseline": "", "residual": network != "plain"}
        row |= {"shallow": group["depth"].min(), "deep": group["depth"].max(), "n": 1}
        for name, mean, fraction in (
            ("explosion", 300.0, 0.5),
            ("growth", np.nan, np.nan),
            ("least", 0.0, 1),
        ):
            row |= {name: mean, f"{name}_low": mean, f"{name}_high": mean}
            row |= {{"explosion": "explodes", "growth": "grows", "least": "vanishes"}[name]: fraction}
        row |= {
            "any": 1.0,
            "error_shallow": 1.0,
            "error_deep": 2.0,
            "diverged": 0,
            "twin": "",
            "error_twin": np.nan,
        }
        rows.append(row | {"verdict": "inconclusive", "effect": 1.0, "p": np.nan})
    return pd.DataFrame(rows)


def without_data(evidence: Evidence) -> Evidence:
    """Return the same study, with every run interrupted before its first step."""
    runs = evidence.runs.assign(status="interrupted", train_error_eval=None, test_error=None, val_error=None)
    empty = Results(runs, evidence.history.iloc[:0], evidence.layers.iloc[:0])
    study = study_of(frontier={"below": 6.0})
    return evidence_of(
        with_columns(empty), study, predictions=pd.DataFrame(), corrupted_errors=pd.DataFrame(), sweeps=[]
    )


@pytest.fixture(scope="session")
def complete(tmp_path_factory):
    """Evidence in which every run is done."""
    return made_up(tmp_path_factory.mktemp("complete"))


@pytest.fixture(scope="session")
def unfinished(tmp_path_factory):
    """Evidence with a diverged, a failed, an interrupted and a missing run, and a network without a twin."""
    networks = ("plain", "resnet", "se_resnet")
    return made_up(tmp_path_factory.mktemp("unfinished"), ENDINGS, networks=networks)


@pytest.fixture(scope="session")
def single(tmp_path_factory):
    """Evidence of one network with one seed."""
    return made_up(tmp_path_factory.mktemp("single"), networks=("resnet",), depths=(8, 14), seeds=(0,))


@pytest.fixture(scope="session")
def empty(complete):
    """Evidence of runs that have no data yet."""
    return without_data(complete)


@pytest.fixture(scope="session")
def evidence_by_name(complete, unfinished, single, empty):
    """Name -> the evidence of one study, and the same compared with another study."""
    studies = {"complete": complete, "unfinished": unfinished, "single": single, "empty": empty}
    return {
        name: (study, Comparison({"baseline": single if name == "single" else complete, name: study}))
        for name, study in studies.items()
    } | {"empty": (empty, Comparison({"baseline": empty, "empty": empty}))}
