"""Studies beside each other: what differs in their settings, whether their errors may be compared, and by how
much these differ, seed by seed. The first study is the one that the others are held against.

A study is known here by its label. Networks of one name are compared; of two studies that have each one
network that the other has not, these two are compared as well, under both names."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from depthbench.analysis import FINISHED
from depthbench.analysis.summary import t_half
from depthbench.analysis.verdict import LEAST_SEEDS, LEVEL, ROUNDING, holm, last_errors
from depthbench.errors import BadInput
from depthbench.store.results import Results

ERRORS = {"train_error_eval": "train error", "test_error": "test error"}
IMAGES = ("data.", "images")  # settings that say which images a run sees; `images` is their hash
TRAINING = ("recipe.", "data.normalisation")
OPTIONS = ("options.",)
VARIANTS, PLUGINS = ("variants.",), ("plug-in.",)  # networks of the study's own, and code of its plug-ins
EVALUATION = ("evaluate.train_size",)  # another sample of the training images has another error
MADE_WITH = ("environment.", "execution.")
THREADS = ("environment.threads",)
IRRELEVANT = ("data.name",)  # what the images are called


def label_each(paths: Sequence[Path]) -> list[str]:
    """The shortest ends of `paths` that tell them apart: quick and quick-bf16, or mine/quick and ours/quick.

    Raises BadInput where one directory is given twice."""
    parts = [path.resolve().parts for path in paths]
    for length in range(1, max(map(len, parts)) + 1):
        labels = ["/".join(part[-length:]) for part in parts]
        if len(set(labels)) == len(labels):
            return labels
    again = next(path for k, path in enumerate(paths) if parts[k] in parts[:k])
    raise BadInput(f"{again} is named twice: give two or more different results directories")


def together(results: Mapping[str, Results]) -> Results:
    """The tables of several studies (label -> results) as one, each with a column `study`, its label.

    `network` becomes the name that a network is compared under, `own_network` is the one it has: `resnet /
    mine` where two are compared that are called otherwise. A run's id gets the label before it."""
    first, *others = (tables.runs["network"] for tables in results.values())
    names = [{}, *(counterparts(first, other) for other in others)]
    shown = {
        ours: " / ".join([ours, *dict.fromkeys(n for m in names for n, o in m.items() if o == ours)])
        for ours in first
    }
    frames: list[list[pd.DataFrame]] = [[], [], []]
    for (label, tables), known in zip(results.items(), names, strict=True):
        for found, frame in zip(frames, tables, strict=True):
            if frame.empty:
                continue
            own = {"study": label, "own_network": frame["network"]}
            found.append(
                frame.assign(
                    **own,
                    network=[shown.get(known.get(name, name), name) for name in frame["network"]],
                    run_id=label + "/" + frame["run_id"],
                )
            )
    return Results(*(pd.concat(found, ignore_index=True) if found else pd.DataFrame() for found in frames))


def studies_of(joined: Results) -> list[str]:
    """The studies' labels, in the order in which they were given."""
    return list(dict.fromkeys(joined.runs["study"]))


def counterparts(first: Sequence[str], other: Sequence[str]) -> dict[str, str]:
    """Network of `other` -> network of `first` that it is compared with though it is called otherwise."""
    ours, theirs = list(dict.fromkeys(first)), list(dict.fromkeys(other))
    alone = [name for name in ours if name not in theirs]
    its_own = [name for name in theirs if name not in ours]
    return {its_own[0]: alone[0]} if len(alone) == len(its_own) == 1 else {}


def differing(settings: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """What is not one and the same in all studies: label -> {setting: value}. Columns: setting, and one a
    study, with its value as text, empty where it is unset. What runs were made with comes last."""
    keys = dict.fromkeys(key for table in settings.values() for key in table)
    keys = sorted(keys, key=lambda key: key.startswith(MADE_WITH))
    rows = [
        {"setting": key} | {label: _told(table.get(key)) for label, table in settings.items()}
        for key in keys
        if len({repr(table.get(key)) for table in settings.values()}) > 1
    ]
    return pd.DataFrame(rows, columns=["setting", *settings])


def cautions(settings: pd.DataFrame, runs: pd.DataFrame) -> list[str]:
    """Why the errors of studies may not be comparable: a sentence a reason, for each but the first study.

    settings: of `differing`. runs: of `together`."""
    first, *others = settings.columns[1:]
    sentences = []
    for other in others:
        apart = settings.loc[settings[first] != settings[other]]
        apart = apart[~apart["setting"].isin(IRRELEVANT)]
        has_recipe = apart["setting"].str.startswith(TRAINING).any()
        for keys, what in (
            (IMAGES, "other images, or another split of them: its errors are of another task"),
            (TRAINING, "another recipe: a difference may be the recipe's"),
            (OPTIONS, "other networks by the same names as well: a difference may be theirs"),
            (VARIANTS, "another network by the same name: a difference may be the definition's"),
            (PLUGINS, "other code in the plug-ins of a network: a difference may be the code's"),
            (THREADS, "other numbers of threads: sums round otherwise, and training makes more of it"),
            (EVALUATION, "the train error of other images: compare the test errors"),
        ):
            rows = apart[apart["setting"].str.startswith(keys)]
            if keys == IMAGES:
                rows = rows[~rows["setting"].str.startswith(TRAINING)]
                if (rows["setting"] != "images").all():  # they were asked for otherwise, and are the same
                    continue
            if keys == OPTIONS and not has_recipe:  # they are what is compared
                continue
            if keys in (VARIANTS, PLUGINS):  # what one study alone has is compared with nothing of its name
                rows = rows[(rows[[first, other]] != "").all(axis=1)]
            if len(rows):
                told = ", ".join(
                    f"{row['setting']} {row[other] or 'unset'}, not {row[first] or 'unset'}"
                    for row in rows.head(4).to_dict("records")
                )
                more = f" and {len(rows) - 4} more" if len(rows) > 4 else ""
                sentences.append(f"{other} has {what} ({told}{more}).")
        sentences += _uneven(runs, first, other)
    return sentences


def _uneven(runs: pd.DataFrame, first: str, other: str) -> list[str]:
    """What the two studies' runs have not in common."""
    cells = [
        set(runs.loc[runs["study"] == label, ["network", "depth"]].itertuples(index=False, name=None))
        for label in (first, other)
    ]
    if not cells[0] & cells[1]:
        return [f"{other} has no network and depth in common with {first}: no errors are compared."]
    finished = runs[runs["status"].isin(FINISHED)]
    seeds = [set(finished.loc[finished["study"] == label, "seed"]) for label in (first, other)]
    common = len(seeds[0] & seeds[1])
    if common < LEAST_SEEDS:
        return [
            f"{other} has {common} seed{'s'[: common != 1]} in common with {first}: too few to conclude from."
        ]
    return []


def differences(joined: Results) -> pd.DataFrame:
    """A row for each kind of error, later study, network and depth: its error minus the first study's.

    Errors (percent) are of `verdict.last_errors`: means of the last evaluations, chance for a diverged run.
    Of two studies that trained as long and were evaluated at other steps, those at common steps count.
    Columns: error, study, network, first_network and own_network, its names in the two, depth; n, the seeds
    that both have; first and other, the mean errors over these; differences, {seed: D}; mean, low and high,
    D's mean and 95 % t interval; p, of the two-sided paired t, and p_holm, corrected over the rows of a study
    and kind of error; diverged, how many of the runs did; same_weights and same_batches, whether each pair of
    runs began with the same weights and saw the same batches (NA where it is not recorded)."""
    runs, history = joined.runs, joined.history
    first, *others = studies_of(joined)
    rows = []
    for column, error in ERRORS.items():
        for label in others:
            pair = runs[runs["study"].isin((first, label))]
            known = _errors(pair, _at_common_steps(pair, history, column), column)
            mine, theirs = (known[known["study"] == study] for study in (first, label))
            keys = ["network", "depth", "seed"]
            pairs = mine.merge(theirs, on=keys, suffixes=("_first", "_other"))
            begun = [
                {"error": error, "study": label, "network": network, "depth": depth} | _difference(group)
                for (network, depth), group in pairs.groupby(["network", "depth"])
            ]
            for row, corrected in zip(begun, holm([row["p"] for row in begun]), strict=True):
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
    """The evaluations of two studies' `runs` at the steps where both have any: means over others would differ
    by the time they are of. All of them where the studies are of another length."""
    taken = history[history["study"].isin(runs["study"])].dropna(subset=[column])
    if runs["steps"].nunique() != 1 or taken.empty:
        return taken
    common = set.intersection(*(set(steps) for _, steps in taken.groupby("study")["step"]))
    return taken[taken["step"].isin(common)]


def _errors(runs: pd.DataFrame, history: pd.DataFrame, column: str) -> pd.DataFrame:
    """`last_errors` with what a run is matched by."""
    found = last_errors(runs, history, column)[["error"]]  # by the index of `runs`
    keys = ["study", "network", "own_network", "depth", "seed", "status"]
    return runs[[*keys, "initial_weights_hash", "batches_hash", "data_hash"]].join(found, how="inner")


def _difference(pairs: pd.DataFrame) -> dict[str, Any]:
    d = (pairs["error_other"] - pairs["error_first"]).to_numpy(float)
    mean, half = float(d.mean()), np.nan
    p = np.nan
    if len(d) > 1:
        half = float(t_half(d))
        spread = np.ptp(d) > ROUNDING  # without, t is infinite, or says nothing where nothing differs
        p = _two_sided_t(d) if spread else float(abs(mean) <= ROUNDING)
    return {
        "first_network": pairs["own_network_first"].iloc[0],
        "own_network": pairs["own_network_other"].iloc[0],
        "n": len(d),
        "first": float(pairs["error_first"].mean()),
        "other": float(pairs["error_other"].mean()),
        "differences": dict(zip(pairs["seed"], d.tolist(), strict=True)),
        **{"mean": mean, "low": mean - half, "high": mean + half, "p": p},
        "diverged": int((pairs[["status_first", "status_other"]] == "diverged").to_numpy().sum()),
        "same_weights": _same(pairs, "initial_weights_hash"),
        "same_batches": _same(pairs, "batches_hash", "data_hash"),  # drawn alike, of the same images
    }


def _two_sided_t(d: np.ndarray) -> float:
    from scipy import stats  # that takes most of a second, and not all processes that draw need it

    return float(stats.ttest_1samp(d, 0).pvalue)


def _same(pairs: pd.DataFrame, *columns: str) -> Any:
    ours, theirs = (pairs[[f"{column}_{end}" for column in columns]] for end in ("first", "other"))
    known = ours.notna().all(axis=None) and theirs.notna().all(axis=None)
    return bool((ours.to_numpy() == theirs.to_numpy()).all()) if known else pd.NA


def is_apart(rows: pd.DataFrame) -> pd.Series:
    """Of rows of `differences`: whether the errors are told apart, p_holm <= 0.05 with 3 seeds or more."""
    return (rows["n"] >= LEAST_SEEDS) & (rows["p_holm"] <= LEVEL)


def _told(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} = {_told(part)}" for key, part in value.items())
    return "" if value is None else str(value)
