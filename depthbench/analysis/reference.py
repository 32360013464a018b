"""The published numbers (published.csv), and a study's own beside them. Errors in percent.

A published number stands only beside runs of the same network, options, depth and data set. What else
may differ, the recipe and which evaluation is reported, is said beside it."""

from functools import cache
from importlib.resources import files

import numpy as np
import pandas as pd

from depthbench.analysis import FINISHED
from depthbench.analysis.protocol import recipe_differences, settled_options

METRICS = {  # of published.csv -> of Results.runs: the last evaluation, and the train error on the fly
    "test_error": "test_error",
    "train_error": "train_error",
    "top1_error": "test_error_10crop",  # every published one is of 10 crops
    "top5_error": "test_error_top5_10crop",
}
EVALUATED = {  # what is not the last evaluation
    "best_test_error": "best evaluation on the test set",
    "val_selected_test_error": "evaluation chosen by validation",
}
NUM_CLASSES = {"imagenet": 1000}  # a folder may bear this name and hold something else
WITHIN = 2.0  # standard deviations

COLUMNS = {
    **{"network": "str", "depth": "int64", "data": "str", "metric": "str", "n": "int64"},
    **dict.fromkeys(("mean", "sd", "low", "high"), "float64"),
    **{"diverged": "int64", "published": "float64", "bound": "str", "published_sd": "float64"},
    **{"published_runs": "Int64", "difference": "float64", "within": "boolean", "why": "str"},
    **{"same_protocol": "boolean", "differs": "str", "protocol": "str", "published_protocol": "str"},
    **{"source": "str", "provenance": "str"},
}


@cache
def published() -> pd.DataFrame:
    """Every published number of a network that we have.

    Columns: source, table; data, family, depth, options.KEY (NaN: the default), called (the network's name
    there); metric; compared, the column of `Results.runs` to hold beside it, where that is not the last
    evaluation; statistic, `median` where it is one (else a mean); value (percent), bound (`above` where it is
    a lower bound), std, runs; recipe, the one of `protocol.RECIPES` (NaN where not known); protocol, what was
    reported; provenance."""
    with files("depthbench.analysis").joinpath("published.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file)


def published_for(run: pd.Series | dict) -> pd.DataFrame:
    """The rows of `published` for the same network, options, depth and data set as `run`'s (a row of
    `Results.runs`), in their order."""
    table = published()
    if not _is_published_data(run):
        return table.iloc[:0]
    rows = table[
        (table["family"] == run["family"])
        & (table["depth"] == run["depth"])
        & (table["data"] == run["data.name"])
    ]
    same = [settled_options(row) == settled_options(run) for row in rows.to_dict("records")]
    return rows[np.array(same, dtype=bool)]


def reproduction(runs: pd.DataFrame) -> pd.DataFrame:
    """A row for each published number of each network and depth of `runs` (`Results.runs`); where there is
    none, one row with our test error alone, and `why`. Networks without a finished run are left out.

    Columns: network, depth, data, metric (of METRICS); n finished seeds with that error, their mean, sd, low
    and high, and how many diverged (they count at chance error); published, bound, published_sd,
    published_runs; difference, ours - published (NaN for a bound); within and why, see `_agreement`;
    same_protocol and differs, whether the recipe is the paper's and what of it is not (NA where theirs is not
    known); protocol and published_protocol in words; source, provenance."""
    rows = []
    for _, group in runs.groupby(["depth", "network"]):
        finished = group[group["status"].isin(FINISHED)]
        if finished.empty:
            continue
        found = published_for(finished.iloc[0].to_dict()).to_dict("records")
        rows += [_beside(finished, number) for number in found] or [_alone(finished)]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def _ours(finished: pd.DataFrame, metric: str, column: str, statistic: str = "mean") -> dict:
    """Our side of a row: the runs of one network and depth. `mean` is their median where `statistic` is."""
    run = finished.iloc[0]
    diverged = finished["status"] == "diverged"
    taken, last = (finished.get(key, pd.Series(np.nan, finished.index)) for key in (column, METRICS[metric]))
    # the best error of a diverged run is from before it diverged; the last is at chance
    values = pd.to_numeric(taken.mask(diverged, last), errors="coerce").dropna()
    return {
        **{"network": run["network"], "depth": run["depth"], "data": run["data.name"], "metric": metric},
        **{"n": len(values), "mean": values.agg(statistic), "sd": values.std(ddof=1)},
        **{"low": values.min(), "high": values.max()},
        "diverged": int(diverged[values.index].sum()),
        "protocol": f"{statistic} of the {EVALUATED.get(column, 'last evaluation')}, "
        f"{run['steps']:,.0f} steps, batch {run['recipe.batch_size']:.0f}, "
        f"{run['recipe.optimizer']}, lr {run['recipe.lr']:g}",
    }


def _beside(finished: pd.DataFrame, number: dict) -> dict:
    """Our runs of one network and depth beside one published number."""
    column = METRICS[number["metric"]] if pd.isna(number["compared"]) else number["compared"]
    statistic = "mean" if pd.isna(number["statistic"]) else number["statistic"]
    ours = _ours(finished, number["metric"], column, statistic)
    bound = "" if pd.isna(number["bound"]) else number["bound"]
    within, why = _agreement(ours, number["value"], bound, number["std"], column)
    known = not pd.isna(number["recipe"])
    differs = recipe_differences(finished.iloc[0].to_dict(), number["recipe"]) if known else []
    return ours | {
        **{"published": number["value"], "bound": bound, "published_sd": number["std"]},
        "published_runs": number["runs"],
        "difference": np.nan if bound else ours["mean"] - number["value"],
        **{"within": within, "why": why},
        **{"same_protocol": not differs if known else pd.NA, "differs": "; ".join(differs)},
        **{"published_protocol": number["protocol"], "provenance": number["provenance"]},
        "source": f"{number['source']}, {number['table']}",
    }


def _alone(finished: pd.DataFrame) -> dict:
    """Our runs of one network and depth, of which nothing was published."""
    what = "network" if _is_published_data(finished.iloc[0]) else "data"
    words = {"bound": "", "differs": "", "published_protocol": "", "source": "", "provenance": ""}
    none = {"within": pd.NA, "same_protocol": pd.NA, "published_runs": pd.NA}
    return (
        _ours(finished, "test_error", "test_error")
        | words
        | none
        | {"why": f"no published number for this {what}"}
    )


def _is_published_data(run: pd.Series | dict) -> bool:
    """Whether `run` was trained on a data set that there are published numbers of, and not on another one
    such as a folder of its name or cifar10-jpeg."""
    name = run["data.name"]
    if name not in set(published()["data"]):
        return False
    return run["num_classes"] == NUM_CLASSES.get(name, run["num_classes"])


def _agreement(ours: dict, value: float, bound: str, sd: float, column: str) -> tuple[object, str]:
    """Whether our mean agrees with a published `value`, True, False or NA, and by which rule.

    It does within WITHIN of the wider of the two standard deviations, ours and `sd` (theirs), as far as they
    are known; it does with a lower bound from there on. Where a run diverged our spread says nothing."""
    if not ours["n"]:
        return pd.NA, f"needs {column}"
    if bound:
        return bool(ours["mean"] > value), "lower bound"
    spreads = [sd] if ours["diverged"] else [sd, ours["sd"]]
    known = [spread for spread in spreads if pd.notna(spread)]
    if not known:
        return pd.NA, "no spread"
    return bool(abs(ours["mean"] - value) <= WITHIN * max(known)), f"{WITHIN:g} sd"
