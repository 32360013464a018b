"""The tables of a report: a frame for CSV, and the same frame worded for people, for Markdown and HTML."""

import math
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from depthbench.analysis import STATUSES
from depthbench.analysis.choice import LEAST_SEEDS as LEAST_SEEDS_TO_CHOOSE
from depthbench.analysis.comparison import is_apart
from depthbench.analysis.frontier import Search
from depthbench.analysis.theory import TRAINABLE
from depthbench.analysis.verdict import LEAST_SEEDS, Verdicts
from depthbench.data.corruptions import CORRUPTIONS
from depthbench.files import atomic, write_text

ERROR_WORDS = {"val_error": "validation error", "test_error": "test error"}
COST_WORDS = {
    "parameters": "parameters",
    "multiply_adds": "multiply-adds",
    "seconds": "time",
    "peak_memory": "peak memory",
}
CHOSEN_WORDS = {"chosen": "of all", "chosen_of_network": "of its network"}
CROP_WORDS = {  # of ImageNet's protocol
    "test_error_10crop": "test error, 10 crops (%)",
    "test_error_top5": "top-5 error (%)",
    "test_error_top5_10crop": "top-5 error, 10 crops (%)",
}
PREAMBLE = "% in the document's preamble: \\usepackage{booktabs, graphicx}\n"
FITTED = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%" + "\n"  # needs graphicx


class Table(NamedTuple):
    """One table: `title`, `note` (how to read it), `raw` for machines and `shown`, text, for people;
    `nothing` is what is said where it is empty."""

    title: str
    note: str
    raw: pd.DataFrame
    shown: pd.DataFrame
    nothing: str = ""


def summary_table(summary: pd.DataFrame, train_images: str) -> Table:
    """Of `analysis.summary.summarise`; `train_images` says on which images train errors were taken."""
    shown = pd.DataFrame({"network": summary["network"], "depth": summary["depth"], "n": summary["n"]})
    for name, title in (("train_error_eval", "train error"), ("test_error", "test error")):
        for key, words in (("mean", "mean"), (("low", "high"), "95% interval"), (("min", "max"), "range")):
            columns = [summary[f"{name}_{k}"] for k in (key if isinstance(key, tuple) else (key,))]
            shown[f"{title}, {words} (%)"] = [_range(values) for values in zip(*columns, strict=True)]
    for name, title in CROP_WORDS.items():
        if f"{name}_mean" in summary:
            shown[f"{title.removesuffix(' (%)')}, mean (%)"] = [_number(x) for x in summary[f"{name}_mean"]]
    shown["runs"] = [_statuses(row) for row in summary.to_dict("records")]
    note = (
        f"Last errors, in evaluation mode on clean images (train error: {train_images}), over n seeds; a "
        "diverged run counts at chance error. The interval is Student's t for the mean, which does not know "
        "that errors end at 0 and 100 %. The best test error is chosen on the test set: it is in the table "
        "of runs only, and in no mean."
    )
    if any(f"{name}_mean" in summary for name in CROP_WORDS):
        note += " Errors over 10 crops and top-5 errors are means over the runs that have them."
    return Table("Errors by network and depth", note, summary, shown.astype(str))


def runs_table(runs: pd.DataFrame, matches: pd.DataFrame) -> Table:
    """A row a run, with what was matched with its twin (`analysis.matching.match_twins`)."""
    records, pairs = runs.to_dict("records"), matches.to_dict("records")
    matched = pd.DataFrame([_matched(run, pairs) for run in records], index=runs.index)
    shown = pd.DataFrame(
        {
            "run": runs["run_id"],
            "status": [_because(run) for run in records],
            "updates": [
                f"{_whole(a)} of {_whole(b)}" for a, b in zip(runs["step"], runs["steps"], strict=True)
            ],
            "train error (%)": [_number(x) for x in runs["train_error_eval"]],
            "test error, last (%)": [_number(x) for x in runs["test_error"]],
            **{words: [_number(x) for x in runs[key]] for key, words in CROP_WORDS.items()},
            "test error, best (%)": [_best(run, "best_") for run in records],
            "test error, chosen by validation (%)": [_best(run, "val_selected_") for run in records],
            "parameters": runs["parameters"].map(_whole),
            **matched,
            "multiply-adds (million)": [_number(x, 1e6, 1) for x in runs["multiply_adds"]],
            "time (s)": [_number(x, 1, 1) for x in runs["seconds"]],
            "peak memory (MB)": [_number(x, 1e6, 0) for x in runs["peak_memory"]],
            "device": runs["device"].map(lambda x: "" if pd.isna(x) else str(x)),
        }
    )
    empty = [column for column in shown if (shown[column] == "").all()]
    note = (
        "Errors of a run that has not finished are those so far, and are in no mean. Twins are a plain and a "
        "residual network of one depth and seed: the same number of parameters, the same initial "
        "weights, the same batches in the same order (compared by hash, over all updates or over as many as "
        "are named)."
    )
    return Table(
        "Runs, and what was matched", note, runs.join(matched), shown.drop(columns=empty).astype(str)
    )


def frontier_table(search: Search) -> Table:
    """Of `analysis.frontier.searched`. For people a row a network, in the CSV one a network and seed."""
    summary = search.summary
    seeds = dict(list(search.frontiers.groupby("network")))
    shown = pd.DataFrame(
        {
            **{key: summary[key] for key in ("network", "n")},
            "depth that trains, (lower) median": [f"{x:g}" for x in summary["median"]],
            "lowest to highest": [
                f"{low:g} to {high:g}" for low, high in zip(summary["low"], summary["high"], strict=True)
            ],
            "each seed: trains, does not": [_each_frontier(seeds[name]) for name in summary["network"]],
            "expected by theory": [_expected(x) for x in summary["expected"]],
        }
    )
    note = (
        f"By seed: the greatest depth whose last train error is below {search.below:g} %, and the least "
        "above it whose is not (the least depths may be too shallow to fit). A seed in which no depth trains "
        "counts as 0. Theory: "
        f"{TRAINABLE} mean-field depth scales at initialisation, where a rate is predicted."
    )
    return Table(
        "How deep networks train, in numbers",
        note,
        search.frontiers.merge(summary, on="network"),
        shown.astype(str),
    )


def choice_table(choice: pd.DataFrame, different: dict[str, list[str]], unfinished: int = 0) -> Table:
    """Of `analysis.choice.choose` and `differing`. `unfinished`: so many runs have no final errors."""
    rows, error = choice.to_dict("records"), ERROR_WORDS[choice["error"].iloc[0]]
    shown = pd.DataFrame(
        {
            **{key: choice[key] for key in ("network", "depth", "n")},
            f"{error}, mean (%)": [_number(x) for x in choice["mean"]],
            "standard error": [_number(x) for x in choice["se"]],
            "parameters (million)": [_number(x, 1e6, 3) for x in choice["parameters"]],
            "multiply-adds (million)": [_number(x, 1e6, 1) for x in choice["multiply_adds"]],
            "time (s)": [_number(x, 1, 1) for x in choice["seconds"]],
            "peak memory (MB)": [_number(x, 1e6, 0) for x in choice["peak_memory"]],
            "lowest error at its": [
                ", ".join(w for c, w in COST_WORDS.items() if row[f"front_{c}"] and c not in different)
                for row in rows
            ],
            "recommended": [
                ", ".join(words for key, words in CHOSEN_WORDS.items() if row[key]) for row in rows
            ],
        }
    )
    empty = [column for column in shown if (shown[column] == "").all()]
    note = (
        "For choosing a depth. Recommended of a network is the least depth whose mean validation error is "
        "within one standard error of that of its best depth; of all, what takes the fewest multiply-adds "
        "within one standard error of the best of all; by the test error nothing is, nor of fewer than "
        f"{LEAST_SEEDS_TO_CHOOSE} seeds, nor where the best is at chance. Lowest error at its "
        "cost: nothing else is both cheaper and better, where times and memory within 5 % of each other are "
        "equal. Time and memory are means over the seeds that are "
        "done; the time depends on what else ran at once."
    )
    for cost, columns in different.items():
        note += f" The {COST_WORDS[cost]} cannot be compared: {', '.join(columns)} differ between runs."
    if unfinished:
        note += f" Runs without final errors: {unfinished}. With them another may be recommended."
    return Table("Errors and costs", note, choice, shown.drop(columns=empty).astype(str))


def missing_table(missing: pd.DataFrame) -> Table:
    """Of `analysis.missing.missing_runs`."""
    shown = pd.DataFrame(
        {
            **{key: missing[key] for key in ("network", "depth", "seed")},
            "status": [_because(run) for run in missing.to_dict("records")],
            "updates": [
                "" if pd.isna(made) else f"{_whole(made)} of {_whole(planned)}"
                for made, planned in zip(missing["step"], missing["steps"], strict=True)
            ],
        }
    )
    note = (
        "Runs of the study's grid without final errors: they are in no mean. One that is still running is "
        "interrupted until it ends."
    )
    nothing = "Nothing: every run of the study has finished."
    return Table("What is missing", note, missing, shown.astype(str), nothing)


def rates_table(rates: pd.DataFrame) -> Table:
    """Of `analysis.theory.measured_rates`."""
    shown = pd.DataFrame(
        {
            **{key: rates[key] for key in ("network", "depth", "stage", "per")},
            "measured": [_number(x, 1, 3) for x in rates["mean"]],
            "95% interval": [_range(ends, 3) for ends in zip(rates["low"], rates["high"], strict=True)],
            "n": rates["n"],
            "predicted": [_number(x, 1, 3) for x in rates["predicted"]],
            # from a bound nothing is to be expected
            "difference (%)": [
                _number(x, 1, 1) for x in rates["difference"].mask(rates["kind"] == "batch_norm_limit")
            ],
            **{key: rates[key].astype(object).fillna("") for key in ("formula", "assumption", "source")},
        }
    )
    note = (
        "By what the squared norm of dL/dz is multiplied at step 0 from one layer, or residual block, to the "
        "one before it, towards the input: above 1 gradients explode, below 1 they vanish. Measured: a "
        "straight line fitted to the logarithms of a stage, geometric mean over n seeds and Student's t "
        "interval for it. Nothing is predicted where the assumptions of no formula hold. A residual network "
        "with batch normalisation and identity shortcuts has no rate, since its norm follows a power of the "
        "depth: it is left out."
    )
    return Table("Measured and predicted rates at initialisation", note, rates, shown.astype(str))


def responses_table(responses: pd.DataFrame) -> Table:
    """Of `analysis.layers.summarise_responses`."""
    shown = pd.DataFrame(
        {
            **{key: responses[key] for key in ("network", "depth", "n")},
            "median layer, mean": [f"{x:.3g}" for x in responses["mean"]],
            "median layer, range": [
                f"{a:.3g} to {b:.3g}" for a, b in zip(responses["min"], responses["max"], strict=True)
            ],
            "least of any layer": [f"{x:.3g}" for x in responses["least"]],
            "greatest of any layer": [f"{x:.3g}" for x in responses["greatest"]],
        }
    )
    note = (
        "Standard deviation of the response, after normalisation, if any, and before the nonlinearity, at "
        "the last probed step of runs that finished (He et al. 2015, Figure 7): of the median layer the mean "
        "and range over n seeds, and the least and the greatest of all layers and seeds."
    )
    return Table("Layer responses in numbers", note, responses, shown.astype(str))


def classes_table(classes: pd.DataFrame) -> Table:
    """Of `analysis.classes.summarise_classes`. For people a row a network and depth, with its worst class."""
    rows = []
    for (network, depth), group in classes.groupby(["network", "depth"]):
        whole, recalls = group[group["metric"] == "macro_f1"].iloc[0], group[group["metric"] == "recall"]
        worst = recalls.loc[recalls["mean"].idxmin()]
        rows.append(
            {
                **{"network": network, "depth": depth, "n": whole["n"]},
                "macro F1, mean (%)": _number(whole["mean"]),
                "macro F1, 95% interval (%)": _range(whole[["low", "high"]]),
                "worst class": worst["class"],
                "its recall, mean (%)": _number(worst["mean"]),
                "its recall, 95% interval (%)": _range(worst[["low", "high"]]),
            }
        )
    note = (
        "Of the test images, as the trained network calls them. Recall: the percent of a class's images that "
        "are called by its name; the worst class is the one of least mean recall. Macro F1: the mean over "
        "classes of the harmonic mean of recall and precision. Over n seeds; a diverged run has no "
        "predictions, and is in no mean here. The interval is Student's t for the mean: of few seeds far "
        "apart it passes 0 or 100. Every class is in the CSV."
    )
    return Table("Classes by network and depth", note, classes, pd.DataFrame(rows).astype(str))


def robustness_table(robustness: pd.DataFrame) -> Table:
    """Of `analysis.robustness.summarise_robustness`. For people a row a network, depth and corruption, clean
    and at its greatest strength."""
    rows = []
    for (network, depth, corruption), group in robustness.groupby(["network", "depth", "corruption"]):
        clean, most = group.loc[group["strength"].idxmin()], group.loc[group["strength"].idxmax()]
        unit = CORRUPTIONS[corruption].unit
        rows.append(
            {
                **{"network": network, "depth": depth, "corruption": corruption, "n": most["n"]},
                "clean, mean (%)": _number(clean["mean"]),
                "over all strengths, mean (%)": _number(group.loc[group["strength"] > 0, "mean"].mean()),
                "at the greatest, mean (%)": _number(most["mean"]),
                "95% interval (%)": _range(most[["low", "high"]]),
                "range (%)": _range(most[["min", "max"]]),
                "greatest strength": f"{most['strength']:g} ({unit})",
            }
        )
    note = (
        "Last test error on images that were corrupted, the same way for every run, over n seeds; a diverged "
        "run counts at chance error. Interval and range are those at the greatest strength; every one is in "
        "the CSV."
    )
    return Table(
        "Errors on corrupted images, by network and depth", note, robustness, pd.DataFrame(rows).astype(str)
    )


def write_table(table: Table, path: Path) -> None:
    """Write PATH.csv (raw), and PATH.md and PATH.tex (as shown; the latter needs booktabs and graphicx)."""
    with atomic(path.with_suffix(".csv")) as temporary:
        table.raw.to_csv(temporary, index=False, float_format="%.8g")
    write_text(path.with_suffix(".md"), f"# {table.title}\n\n{table.note}\n\n{markdown(table.shown)}")
    write_text(path.with_suffix(".tex"), latex(table))


def latex(table: Table) -> str:
    """A LaTeX table in booktabs' rules, its title as the caption, its note as a comment; one that is wider
    than the text is made smaller."""
    style = table.shown.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis=1)
    text = style.to_latex(hrules=True, caption=table.title, position_float="centering")
    text = text.replace("< ", "$<$ ")  # which text fonts have another sign for
    begin, end = r"\begin{tabular}", r"\end{tabular}"
    return f"% {table.note}\n{PREAMBLE}" + text.replace(begin, FITTED + begin).replace(end, end + "}")


def markdown(frame: pd.DataFrame) -> str:
    """A Markdown table of a frame of text."""
    rows = [list(frame.columns), ["---"] * frame.shape[1], *frame.to_numpy().tolist()]
    return "".join("| " + " | ".join(str(x).replace("|", "\\|") for x in row) + " |\n" for row in rows)


def _number(value, unit: float = 1.0, places: int = 2) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value / unit:,.{places}f}"


def _whole(value) -> str:
    return "?" if pd.isna(value) else f"{int(value):,}"


def _range(values, places: int = 2) -> str:
    return " to ".join(_number(x, 1, places) for x in values) if all(map(math.isfinite, values)) else ""


def _statuses(row: dict) -> str:
    return ", ".join(f"{row[status]} {status}" for status in STATUSES if row[status])


def _because(run: dict) -> str:
    reason = run.get("reason")
    return run["status"] if pd.isna(reason) or not reason else f"{run['status']}: {reason}"


def _best(run: dict, prefix: str) -> str:
    error = _number(run[f"{prefix}test_error"])
    return error and f"{error} at {_whole(run[f'{prefix}step'])}"


def _each_frontier(seeds: pd.DataFrame) -> str:
    """`0: 20, 26; 1: 32, none`, of the rows of one network of `analysis.frontier.frontiers`."""
    ends = zip(seeds["seed"], seeds["trains"], seeds["fails"], strict=True)
    return "; ".join(
        f"{seed}: {', '.join('none' if pd.isna(x) else str(x) for x in (a, b))}" for seed, a, b in ends
    )


def _expected(depth: float) -> str:
    return "" if math.isnan(depth) else "any depth" if math.isinf(depth) else f"{depth:.0f}"


def _matched(run: dict, matches: list[dict]) -> dict[str, str]:
    """A run's twin, and what they share; `;` between where it has several twins."""
    pairs = [
        pair
        for pair in matches
        if (pair["depth"], pair["seed"]) == (run["depth"], run["seed"])
        and run["network"] in (pair["network"], pair["twin"])
    ]
    return {
        "twin": "; ".join(p["twin"] if p["network"] == run["network"] else p["network"] for p in pairs),
        "same parameters": "; ".join(_yes(p["parameters"]) for p in pairs),
        "same initial weights": "; ".join(_yes(p["initial_weights"]) for p in pairs),
        "same batches": "; ".join(
            f"{_yes(p['batches'])} ({_whole(p['batches_compared'])} updates)" for p in pairs
        ),
    }


def _yes(value) -> str:
    return "unknown" if pd.isna(value) else "yes" if value else "NO"


METRIC_WORDS = {
    "test_error": "test",
    "train_error": "train",
    "top1_error": "top-1, 10 crops",
    "top5_error": "top-5, 10 crops",
}


def reproduction_table(beside: pd.DataFrame) -> Table:
    """Of `analysis.reference.reproduction`."""
    rows = beside.to_dict("records")
    shown = pd.DataFrame(
        {
            **{key: beside[key] for key in ("network", "depth", "data")},
            "error": [METRIC_WORDS[metric] for metric in beside["metric"]],
            "ours (%)": [_plus_minus(row["mean"], row["sd"], row["diverged"]) for row in rows],
            "n": beside["n"],
            "published (%)": [_published(row) for row in rows],
            "ours - published": [f"{x:+.2f}" if math.isfinite(x) else "" for x in beside["difference"]],
            "within the spread": [_within(row) for row in rows],
            "same recipe": ["" if not row["source"] else _yes(row["same_protocol"]).lower() for row in rows],
            "ours is": beside["protocol"],
            "published is": beside["published_protocol"],
            "source": beside["source"],
            "our recipe has": beside["differs"],
        }
    )
    note = (
        "Numbers published for the same network, depth and data set; other data, even much like it, is never "
        "compared. Ours is the mean and standard deviation (s.d.) of the last error over n finished seeds, a "
        "diverged one at chance error. It is within the spread where the difference is at most 2 s.d., the "
        "wider of ours and theirs; ours says nothing where n is 1 or a run diverged. Same recipe: as He et "
        "al. 2015 train, as far as a run records it; unknown where the source does not say. The train error "
        "is measured on the fly."
    )
    empty = [column for column in shown if (shown[column].astype(str) == "").all()]
    return Table("Beside the published numbers", note, beside, shown.drop(columns=empty).astype(str))


def _plus_minus(mean: float, sd: float, diverged: int = 0) -> str:
    told = _number(mean) + (f" ± {_number(sd)}" if math.isfinite(sd) else "")
    return f"{told} ({diverged} diverged)" if diverged else told


def _published(row: dict) -> str:
    if row["bound"]:
        return f"{row['bound']} {_number(row['published'])}"
    return _plus_minus(row["published"], row["published_sd"])


def _within(row: dict) -> str:
    return row["why"] if pd.isna(row["within"]) else f"{_yes(row['within']).lower()} ({row['why']})"


def verdict_table(verdicts: Verdicts, error: str, untrained: Collection[str] = ()) -> Table:
    """Of `analysis.verdict.judge`; `error` says of which error, e.g. `train error`. `untrained` are the
    networks that are at chance at every depth."""
    pairs, trends, removals = (frame.to_dict("records") for frame in verdicts[1:])
    for row in (*pairs, *trends, *removals):
        if row["network"] in untrained and row["n"] >= LEAST_SEEDS:
            row["verdict"] = "at chance"
    rows = [_judged(f"{row['network']}: worse when deeper", row) for row in pairs]
    rows += [_judged(f"{row['residual']}: rises less than {row['network']}", row) for row in removals]
    rows += [
        {
            **{
                "question": f"{row['network']}: a rise over all depths",
                "depths": ", ".join(map(str, row["depths"])),
            },
            **{"n": row["n"], "mean": row["rise"], "upper": row["upper"], "p": row["p"]},
            **{"verdict": row["verdict"], "differences": _each_seed(row), "diverged": row["diverged"]},
            "test": "Page's trend test",
        }
        for row in trends
    ]
    columns = ["question", "depths", "n", "differences", "mean", "upper", "p", "p_sign_flip"]
    raw = pd.DataFrame(rows, columns=[*columns, "test", "diverged", "verdict"])
    shown = pd.DataFrame(
        {
            "question": raw["question"],
            "depths": raw["depths"],
            "verdict": raw["verdict"],
            "n": raw["n"],
            "mean difference (points)": [_signed(x) for x in raw["mean"]],
            "95% upper bound": [_signed(x) for x in raw["upper"]],
            "p": [_p_value(x) for x in raw["p"]],
            "p, sign flips": [_p_value(x) for x in raw["p_sign_flip"]],
            "each seed's difference": raw["differences"],
            "test": raw["test"],
        }
    )
    note = (
        f"Degradation is present where p <= 0.05 and the mean difference is at least {verdicts.margin:g} "
        f"percentage points, the margin of this study; absent where the one-sided 95% upper bound is below "
        "it; else, and with fewer than 3 seeds, inconclusive. A difference is the deeper network's error "
        "minus the shallower one's, seed by seed. An error is the mean of the last five evaluations, or of "
        "those in the last quarter of training where they are fewer, since five of a short run reach back to "
        "where it has hardly begun; of a diverged run it is chance. "
        "One-sided paired t, p corrected by Holm over the depths of a network. Rises less: the same test of "
        "the plain network's difference minus the residual one's. At chance: the network is, at every depth, "
        "and has nothing to degrade."
    )
    return Table(f"Verdicts on the {error}", note, raw, shown.astype(str))


def settings_table(settings: pd.DataFrame) -> Table:
    """Of `analysis.comparison.differing`."""
    note = (
        "Settings of the studies, and what their runs were made with, that are not the same in all of them."
    )
    return Table(
        "What differs", note, settings, settings.astype(str), "Nothing: their settings are the same."
    )


def differences_table(differences: pd.DataFrame, first: str) -> Table:
    """Of `analysis.comparison.differences`; `first` is the label of the study held against."""
    rows = differences.to_dict("records")
    raw = differences.assign(differences=[_each_seed(row) for row in rows])
    shown = pd.DataFrame(
        {
            "study": raw["study"],
            "error": raw["error"],
            "network": [_networks(row) for row in rows],
            **{key: raw[key] for key in ("depth", "n")},
            f"{first} (%)": [_number(x) for x in raw["first"]],
            "the study (%)": [_number(x) for x in raw["other"]],
            "mean difference (points)": [_signed(x) for x in raw["mean"]],
            "95% interval": [_range(ends) for ends in zip(raw["low"], raw["high"], strict=True)],
            "p": [_p_value(x) for x in raw["p_holm"]],
            "told apart": [_yes(x).lower() for x in is_apart(raw)],
            "each seed's difference": raw["differences"],
            "same initial weights": [_yes(x).lower() for x in raw["same_weights"]],
            "same batches": [_yes(x).lower() for x in raw["same_batches"]],
        }
    )
    note = (
        f"A study's error minus that of {first}, seed by seed, over the n seeds that both have; the interval "
        "is Student's t for the mean difference. p is of the two-sided paired t, corrected by Holm over the "
        "rows of a study and kind of error; errors are told apart where it is at most 0.05 with 3 seeds or "
        "more. Batches are the same where they were drawn alike from the same images."
    )
    nothing = "Nothing: no network and depth has finished runs of one seed in two studies."
    return Table("Differences in numbers", note, raw, shown.astype(str), nothing)


def _networks(row: dict) -> str:
    same = row["first_network"] == row["own_network"]
    return row["network"] if same else f"{row['own_network']} against {row['first_network']}"


def _each_seed(row: dict) -> str:
    told = ", ".join(f"{seed}: {difference:+.2f}" for seed, difference in row["differences"].items())
    return told + (f"; {row['diverged']} diverged" if row["diverged"] else "")


def _judged(question: str, row: dict) -> dict:
    return {
        **{
            "question": question,
            "depths": f"{row['shallow']}, {row['deep']}",
            "differences": _each_seed(row),
        },
        **{key: row[key] for key in ("n", "mean", "upper", "p_sign_flip", "diverged", "verdict")},
        **{"p": row["p_holm"], "test": "paired t"},
    }


def _signed(value: float) -> str:
    return f"{value:+.2f}" if math.isfinite(value) else ""


def _p_value(value: float) -> str:
    return "" if not math.isfinite(value) else "< 0.0001" if value < 1e-4 else f"{value:.4f}"
