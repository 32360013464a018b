"""Compare a study with published numbers (published.csv). Errors are in percent.

A published number is compared only with runs of the same network, options, depth and data set. Other
differences, such as those of the recipe and the reported evaluation, are listed with it."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd

from depthbench.analysis import FINISHED
from depthbench.analysis.logged import is_watched
from depthbench.analysis.protocol import recipe_differences, settled_options
from depthbench.analysis.rows import rows_of

METRICS = {  # metric of published.csv -> column of Results.runs with the last evaluation
    "test_error": "test_error",
    "train_error": "train_error",  # measured during training, on augmented images
    "top1_error": "test_error_10crop",  # all published top-1 and top-5 errors use 10 crops
    "top5_error": "test_error_top5_10crop",
}
EVALUATIONS = {  # columns that are not from the last evaluation
    "best_test_error": "best evaluation on the test set",
    "val_selected_test_error": "evaluation chosen by validation",
}
NUM_CLASSES = {"imagenet": 1000}  # a folder with this name may hold other images
WITHIN = 2.0  # standard deviations

COLUMNS = {
    "network": "str",
    "depth": "int64",
    "data": "str",
    "metric": "str",
    "n": "int64",
    "mean": "float64",
    "sd": "float64",
    "low": "float64",
    "high": "float64",
    "diverged": "int64",
    "published": "float64",
    "bound": "str",
    "published_sd": "float64",
    "published_runs": "Int64",
    "difference": "float64",
    "within": "boolean",
    "why": "str",
    "same_protocol": "boolean",
    "differs": "str",
    "protocol": "str",
    "published_protocol": "str",
    "source": "str",
    "provenance": "str",
}


@cache
def published() -> pd.DataFrame:
    """Return every published number of a network that depthbench builds.

    Columns: source and table; data, family, depth, options.KEY (NaN: the default); called, the network's name
    in the source; metric; compared, the column of `Results.runs` to compare if it is not the last evaluation;
    statistic, `median`, or NaN for a mean; value (percent); bound, `above` for a lower bound; std; runs;
    recipe, a protocol of the family (NaN: unknown); protocol, the evaluation reported; provenance."""
    with files("depthbench.analysis").joinpath("published.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file)


def published_for(run: Mapping[str, Any]) -> pd.DataFrame:
    """Return the rows of `published` with the network, options, depth and data set of `run`.

    `run` is a row of `Results.runs`."""
    table = published()
    if not _is_published_data(run):
        return table.iloc[:0]
    rows = table[
        (table["family"] == run["family"])
        & (table["depth"] == run["depth"])
        & (table["data"] == run["data.name"])
    ]
    same = [settled_options(row) == settled_options(run) for row in rows_of(rows)]
    return rows[np.array(same, dtype=bool)]


def reproduction(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each published number of each network and depth of `runs` (`Results.runs`).

    A network and depth without a published number has one row, with its test error and the reason in `why`.
    Networks without a finished run, and those of `watch`, are omitted.

    Columns: network, depth, data, metric (of METRICS); n, the number of finished seeds with this error; mean,
    sd, low and high over these seeds; diverged, how many of them diverged (they count at chance error);
    published, bound, published_sd, published_runs; difference, measured minus published (NaN for a bound);
    within and why, see `_agreement`; same_protocol, whether the recipe is that of the source (NA if that is
    unknown); differs, how it differs; protocol and published_protocol, in words; source, provenance."""
    rows = []
    for _, group in runs.groupby(["depth", "network"]):
        finished = group[group["status"].isin(FINISHED)]
        if finished.empty or is_watched(_first(finished)):  # its recipe is unknown
            continue
        numbers = rows_of(published_for(_first(finished)))
        rows += [_compared(finished, number) for number in numbers] or [_unpublished(finished)]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def _measured(finished: pd.DataFrame, metric: str, column: str, statistic: str = "mean") -> dict[str, Any]:
    """Return the measured columns of a row. If `statistic` is median, `mean` is the median of the runs."""
    run = finished.iloc[0]
    diverged = finished["status"] == "diverged"
    taken, last = (finished.get(key, pd.Series(np.nan, finished.index)) for key in (column, METRICS[metric]))
    # the best error of a diverged run is from before it diverged, so its final error, at chance, replaces it
    values = pd.to_numeric(taken.mask(diverged, last), errors="coerce").dropna()
    steps = "unknown" if pd.isna(run["steps"]) else f"{run['steps']:,.0f}"
    return {
        "network": run["network"],
        "depth": run["depth"],
        "data": run["data.name"],
        "metric": metric,
        "n": len(values),
        "mean": values.agg(statistic),
        "sd": values.std(ddof=1),
        "low": values.min(),
        "high": values.max(),
        "diverged": int(diverged[values.index].sum()),
        "protocol": f"{statistic} of the {EVALUATIONS.get(column, 'last evaluation')}, "
        f"{steps} steps, batch {run['recipe.batch_size']:.0f}, "
        f"{run['recipe.optimizer']}, lr {run['recipe.lr']:g}",
    }


def _compared(finished: pd.DataFrame, number: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row that compares the runs of one network and depth with one published number."""
    column = METRICS[number["metric"]] if pd.isna(number["compared"]) else number["compared"]
    statistic = "mean" if pd.isna(number["statistic"]) else number["statistic"]
    measured = _measured(finished, number["metric"], column, statistic)
    bound = "" if pd.isna(number["bound"]) else number["bound"]
    within, why = _agreement(measured, column, value=number["value"], bound=bound, sd=number["std"])
    is_known = not pd.isna(number["recipe"])
    differs = recipe_differences(_first(finished), number["recipe"]) if is_known else []
    return measured | {
        "published": number["value"],
        "bound": bound,
        "published_sd": number["std"],
        "published_runs": number["runs"],
        "difference": np.nan if bound else measured["mean"] - number["value"],
        "within": within,
        "why": why,
        "same_protocol": not differs if is_known else pd.NA,
        "differs": "; ".join(differs),
        "published_protocol": number["protocol"],
        "provenance": number["provenance"],
        "source": f"{number['source']}, {number['table']}",
    }


def _unpublished(finished: pd.DataFrame) -> dict[str, Any]:
    """Return the row of one network and depth without a published number."""
    what = "network" if _is_published_data(_first(finished)) else "data set"
    words = dict.fromkeys(("bound", "differs", "published_protocol", "source", "provenance"), "")
    unknown = dict.fromkeys(("within", "same_protocol", "published_runs"), pd.NA)
    why = {"why": f"no published number for this {what}"}
    return _measured(finished, "test_error", "test_error") | words | unknown | why


def _first(runs: pd.DataFrame) -> dict[str, Any]:
    return rows_of(runs.head(1))[0]


def _is_published_data(run: Mapping[str, Any]) -> bool:
    """Return whether `run` was trained on a data set with published numbers.

    A folder with the name of such a data set, or cifar10-jpeg, is another data set."""
    name = run["data.name"]
    if name not in set(published()["data"]):
        return False
    return run["num_classes"] == NUM_CLASSES.get(name, run["num_classes"])


def _agreement(
    measured: Mapping[str, Any], column: str, *, value: float, bound: str, sd: float
) -> tuple[object, str]:
    """Return whether the measured mean agrees with a published `value` (True, False or NA), and the rule.

    They agree if they differ by at most WITHIN standard deviations, using the larger of the measured one and
    the published `sd`. If a run diverged, the measured one is ignored. A mean agrees with a published lower
    bound if it is above the bound."""
    if not measured["n"]:
        return pd.NA, f"needs {column}"
    if bound:
        return bool(measured["mean"] > value), "lower bound"
    spreads = [sd] if measured["diverged"] else [sd, measured["sd"]]
    known = [spread for spread in spreads if pd.notna(spread)]
    if not known:
        return pd.NA, "no spread"
    return bool(abs(measured["mean"] - value) <= WITHIN * max(known)), f"{WITHIN:g} sd"
