"""Compare studies: which settings differ, whether errors are comparable, and by how much they differ.

Every study is compared with the first, the baseline, seed by seed. A study is identified by its label.
Networks with the same name are compared. If each of two studies has exactly one network that the other lacks,
these two are compared as well, under both names."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtr

from depthbench.analysis import FINISHED
from depthbench.analysis.intervals import POINTS, mean_interval
from depthbench.analysis.rows import rows_of
from depthbench.analysis.summary import ERRORS
from depthbench.analysis.verdict import LEAST_SEEDS, LEVEL, ROUNDING, holm, last_errors
from depthbench.errors import BadInput
from depthbench.probes.columns import COMPARISON_COLUMNS
from depthbench.store.results import Results

IMAGES = ("data.", "images")  # settings that say which images a run sees; `images` is their hash
TRAINING = ("recipe.", "data.normalisation")
OPTIONS = ("options.",)
VARIANTS, PLUGINS = (
    ("variants.",),
    ("plug-in.",),
)  # networks that a study defines, and the code of its plug-ins
EVALUATION = ("evaluate.train_size",)  # a different sample of training images gives a different train error
MADE_WITH = ("environment.", "execution.")
THREADS = ("environment.threads",)
IRRELEVANT = ("data.name",)  # the name of a data set does not change its images


def label_each(paths: Sequence[Path]) -> list[str]:
    """Return the shortest ends of `paths` that differ: quick and quick-bf16, or mine/quick and ours/quick.

    Raises BadInput if a directory is given twice."""
    parts = [path.resolve().parts for path in paths]
    for length in range(1, max(map(len, parts)) + 1):
        labels = ["/".join(part[-length:]) for part in parts]
        if len(set(labels)) == len(labels):
            return labels
    repeated = next(path for k, path in enumerate(paths) if parts[k] in parts[:k])
    raise BadInput(f"{repeated} is named twice: name each results directory once")


def join_studies(results: Mapping[str, Results]) -> Results:
    """Join the tables of several studies (label -> results), and add a column `study` with the label.

    `network` becomes the name under which networks are compared, such as `resnet / mine` for two networks
    with different names. `own_network` keeps the name in the study. Each run id gets the label as a prefix.
    """
    baseline, *others = (tables.runs["network"].tolist() for tables in results.values())
    names: list[dict[str, str]] = [{}, *(counterparts(baseline, other) for other in others)]
    compared_as = {
        name: " / ".join(
            [name, *dict.fromkeys(other for pairs in names for other, n in pairs.items() if n == name)]
        )
        for name in baseline
    }
    frames: list[list[pd.DataFrame]] = [[], [], []]
    for (label, tables), pairs in zip(results.items(), names, strict=True):
        for frames_of_kind, frame in zip(frames, tables, strict=True):
            if frame.empty:
                continue
            frames_of_kind.append(
                frame.assign(
                    study=label,
                    own_network=frame["network"],
                    network=[compared_as.get(pairs.get(name, name), name) for name in frame["network"]],
                    run_id=label + "/" + frame["run_id"],
                )
            )
    first, *_ = results.values()
    return Results(
        *(
            pd.concat(kind, ignore_index=True)
            if kind
            else pd.DataFrame(columns=[*empty.columns, *COMPARISON_COLUMNS])
            for kind, empty in zip(frames, first, strict=True)
        )
    )


def studies_of(joined: Results) -> list[str]:
    """List the labels of the studies in their order, the baseline first."""
    return list(dict.fromkeys(joined.runs["study"]))


def counterparts(baseline: Sequence[str], other: Sequence[str]) -> dict[str, str]:
    """Map the network that only `other` has to the one that only `baseline` has.

    These two are compared. The map is empty unless each study has exactly one such network."""
    only_baseline, only_other = (
        [name for name in dict.fromkeys(one) if name not in set(two)]
        for one, two in ((baseline, other), (other, baseline))
    )
    return {only_other[0]: only_baseline[0]} if len(only_baseline) == len(only_other) == 1 else {}


def differing(settings: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Return the settings (label -> {setting: value}) that are not the same in all studies.

    Columns: setting, and one per study with its value as text, empty if unset. Environment and execution come
    last."""
    unsorted = dict.fromkeys(key for table in settings.values() for key in table)
    keys = sorted(unsorted, key=lambda key: key.startswith(MADE_WITH))
    rows = [
        {"setting": key} | {label: _text(table.get(key)) for label, table in settings.items()}
        for key in keys
        if len({repr(table.get(key)) for table in settings.values()}) > 1
    ]
    return pd.DataFrame(rows, columns=["setting", *settings])


UNKNOWN = "unknown"
"""The value of a setting that is unknown, because another loop trained the runs (`depthbench.watch`)."""

CAUTIONS = (
    (IMAGES, "different images or splits, so its errors are from a different task"),
    (TRAINING, "a different recipe, which may explain a difference"),
    (OPTIONS, "different network options as well, which may explain a difference"),
    (VARIANTS, "a different definition of a network with the same name, which may explain a difference"),
    (PLUGINS, "different plug-in code in the runs of a network, which may explain a difference"),
    (THREADS, "a different number of threads: sums round differently, and training amplifies the difference"),
    (EVALUATION, "train errors measured on different images: compare the test errors"),
)


def cautions(settings: pd.DataFrame, runs: pd.DataFrame) -> list[str]:
    """List why the errors of studies may not be comparable, one sentence per reason and study.

    settings: `differing`. runs: those of `join_studies`."""
    baseline, *others = settings.columns[1:]
    sentences = [
        f"{label} was trained by another loop (depthbench.watch), so its recipe, options and images are "
        "unknown."
        for label in (baseline, *others)
        if (settings[label] == UNKNOWN).any()
    ]
    for other in others:
        changed = settings.loc[settings[baseline] != settings[other]]
        changed = changed[(changed[[baseline, other]] != UNKNOWN).all(axis=1)]
        changed = changed[~changed["setting"].isin(IRRELEVANT)]
        has_recipe = changed["setting"].str.startswith(TRAINING).any()
        for keys, reason in CAUTIONS:
            rows = changed[changed["setting"].str.startswith(keys)]
            if keys == IMAGES:
                rows = rows[~rows["setting"].str.startswith(TRAINING)]
                if (rows["setting"] != "images").all():  # specified differently, but the same images
                    continue
            if keys == OPTIONS and not has_recipe:  # the options are the subject of the comparison
                continue
            if keys in (VARIANTS, PLUGINS):  # a network that one study lacks is not compared by name
                rows = rows[(rows[[baseline, other]] != "").all(axis=1)]
            if len(rows):
                examples = ", ".join(
                    f"{row['setting']} {row[other] or 'unset'}, not {row[baseline] or 'unset'}"
                    for row in rows_of(rows.head(4))
                )
                more = f" and {len(rows) - 4} more" if len(rows) > 4 else ""
                sentences.append(f"{other} has {reason} ({examples}{more}).")
        sentences += _little_in_common(runs, baseline, other)
    return sentences


def _little_in_common(runs: pd.DataFrame, baseline: str, other: str) -> list[str]:
    """List a sentence if two studies share no network and depth, or too few seeds."""
    cells = [
        set(runs.loc[runs["study"] == label, ["network", "depth"]].itertuples(index=False, name=None))
        for label in (baseline, other)
    ]
    if not cells[0] & cells[1]:
        return [f"{other} has no network and depth in common with {baseline}: no errors are compared."]
    finished = runs[runs["status"].isin(FINISHED)]
    seeds = [set(finished.loc[finished["study"] == label, "seed"]) for label in (baseline, other)]
    common = len(seeds[0] & seeds[1])
    if common < LEAST_SEEDS:
        plural = "s"[: common != 1]
        return [f"{other} has {common} seed{plural} in common with {baseline}: too few to judge."]
    return []


def differences(joined: Results) -> pd.DataFrame:
    """Return a row for each kind of error, study, network and depth: its error minus that of the baseline.

    Errors (percent) come from `verdict.last_errors`: the mean of the last evaluations, or chance error for a
    diverged run. For two studies of the same length, only evaluations at common steps count. Columns:
    - error, study, network, depth; first_network and own_network, its names in the baseline and the study;
    - n, the number of seeds that both have; first and other, the mean errors over these seeds in the baseline
      and the study; differences, {seed: D}, where D is other minus first;
    - mean, low and high, the mean of D and its 95 % interval; p, of the two-sided paired t test, NaN below 3
      seeds; p_holm, p corrected over the rows of a study and kind of error;
    - diverged, the number of diverged runs; same_weights and same_batches, whether each pair of runs started
      from the same weights and saw the same batches (NA if not recorded)."""
    runs, history = joined.runs, joined.history
    first, *others = studies_of(joined)
    rows = []
    for column, error in ERRORS.items():
        for label in others:
            pair = runs[runs["study"].isin((first, label))]
            errors = _errors(pair, _at_common_steps(pair, history, column), column)
            of_first, of_other = (errors[errors["study"] == study] for study in (first, label))
            keys = ["network", "depth", "seed"]
            pairs = of_first.merge(of_other, on=keys, suffixes=("_first", "_other"))
            tested = [
                {"error": error, "study": label, "network": network, "depth": depth} | _difference(group)
                for (network, depth), group in pairs.groupby(["network", "depth"])
            ]
            for row, corrected in zip(tested, holm([row["p"] for row in tested]), strict=True):
                rows.append(row | {"p_holm": corrected})
    columns = [
        "error",
        "study",
        "network",
        "first_network",
        "own_network",
        "depth",
        "n",
        "first",
        "other",
        "differences",
    ]
    columns += ["mean", "low", "high", "p", "p_holm", "diverged", "same_weights", "same_batches"]
    return pd.DataFrame(rows, columns=columns)


def _at_common_steps(runs: pd.DataFrame, history: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the evaluations of two studies at the steps that both evaluated.

    Errors at other steps would differ because training has progressed. If the studies have different lengths,
    all evaluations are returned."""
    evaluated = history[history["study"].isin(runs["study"])].dropna(subset=[column])
    if runs["steps"].nunique() != 1 or evaluated.empty:
        return evaluated
    common = set.intersection(*(set(steps) for _, steps in evaluated.groupby("study")["step"]))
    return evaluated[evaluated["step"].isin(common)]


def _errors(runs: pd.DataFrame, history: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return `last_errors` with the columns that runs are matched by."""
    errors = last_errors(runs, history, column)[["error"]]  # with the index of `runs`
    keys = ["study", "network", "own_network", "depth", "seed", "status"]
    return runs[[*keys, "initial_weights_hash", "batches_hash", "data_hash"]].join(errors, how="inner")


def _difference(pairs: pd.DataFrame) -> dict[str, Any]:
    """Return the statistics of the differences between paired runs."""
    d = (pairs["error_other"] - pairs["error_first"]).to_numpy(float)
    return {
        "first_network": pairs["own_network_first"].iloc[0],
        "own_network": pairs["own_network_other"].iloc[0],
        "n": len(d),
        "first": float(pairs["error_first"].mean()),
        "other": float(pairs["error_other"].mean()),
        "differences": dict(zip(pairs["seed"], d.tolist(), strict=True)),
        **difference(d),
        "diverged": int((pairs[["status_first", "status_other"]] == "diverged").to_numpy().sum()),
        "same_weights": _same(pairs, "initial_weights_hash"),
        "same_batches": _same(pairs, "batches_hash", "data_hash"),  # the same indices into the same images
    }


def difference(d: np.ndarray) -> dict[str, float]:
    """Return the mean of differences d (n,), in percentage points, its 95 % interval and its p.

    The keys are mean, low, high and p, of the two-sided paired t test, which is NaN below 3 seeds."""
    mean, p = float(d.mean()), np.nan
    low, high = mean_interval(d, POINTS)
    if len(d) >= LEAST_SEEDS:
        spread = np.ptp(d) > ROUNDING  # otherwise t is infinite, or undefined if nothing differs
        p = _two_sided_t(d) if spread else float(abs(mean) <= ROUNDING)
    return {"mean": mean, "low": low, "high": high, "p": p}


def _two_sided_t(d: np.ndarray) -> float:
    sem = d.std(ddof=1) / len(d) ** 0.5
    return 2 * float(stdtr(len(d) - 1, -abs(d.mean()) / sem))


def _same(pairs: pd.DataFrame, *columns: str) -> Any:
    """Return whether both runs of every pair agree in `columns`; NA if a value is missing."""
    first, other = (pairs[[f"{column}_{end}" for column in columns]] for end in ("first", "other"))
    known = first.notna().all(axis=None) and other.notna().all(axis=None)
    return bool((first.to_numpy() == other.to_numpy()).all()) if known else pd.NA


def is_significant(rows: pd.DataFrame) -> pd.Series:
    """Return which rows of `differences` are significant: p_holm <= 0.05 with at least 3 seeds."""
    return (rows["n"] >= LEAST_SEEDS) & (rows["p_holm"] <= LEVEL)


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} = {_text(part)}" for key, part in value.items())
    return "" if value is None else str(value)
