"""The page of a report: results -> figures, tables and one HTML file that opens offline."""

import shlex
from collections import Counter
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from depthbench.analysis import FINISHED
from depthbench.analysis.choice import choose, differing
from depthbench.analysis.classes import class_metrics, summarise_classes
from depthbench.analysis.comparison import ERRORS
from depthbench.analysis.frontier import Search, count_open, searched
from depthbench.analysis.layers import summarise_responses
from depthbench.analysis.matching import match_twins
from depthbench.analysis.missing import missing_runs
from depthbench.analysis.reference import reproduction
from depthbench.analysis.robustness import summarise_robustness
from depthbench.analysis.summary import summarise
from depthbench.analysis.theory import measured_rates
from depthbench.analysis.verdict import judge
from depthbench.errors import BadInput
from depthbench.files import write_text
from depthbench.report import FIGURES
from depthbench.report import sentences as headline
from depthbench.report.drawing import draw_figures
from depthbench.report.sentences import frontier_lines
from depthbench.report.tables import all as tables
from depthbench.store.record import Record
from depthbench.store.results import Results, load_predictions, load_results, load_robustness
from depthbench.store.study_store import StudyStore
from depthbench.study.grid import requested_runs
from depthbench.study.model import Frontier


def write_page(path: Path, out: Path, style: str = "page") -> Path:
    """Write the report of the results in `path` to `out`: figures, tables, and last index.html. `style` is
    that of the figures.

    Returns the path of index.html. Raises BadInput where there are no results, or no run has data."""
    store = StudyStore(path)
    study, results = store.table(), load_results(path)
    if results.runs.empty or not (len(results.history) or results.runs["status"].isin(FINISHED).any()):
        raise BadInput(f"{path}: no run has any data yet, so there is nothing to report: run the study first")
    results = with_columns(results)
    further = {
        "predictions": load_predictions(path, results.runs),
        "robustness": load_robustness(path, results.runs),
    }
    drawn = [(n, e, (results, further[e.table]) if e.table else (results,)) for n, e in FIGURES.items()]
    figures = draw_figures(drawn, results.runs["network"].nunique(), out / "figures", style)
    # while others draw, this process analyses
    summary = summarise(results.runs)
    missing = missing_runs(requested_runs(study), results.runs)
    margin = study.get("verdict", {}).get("margin")
    judged = {error: judge(*results[:2], column, margin) for column, error in ERRORS.items()}
    beside = reproduction(results.runs)
    rates = measured_rates(results.runs, results.layers)
    finished = results.runs.loc[results.runs["status"].isin(FINISHED), "run_id"]
    responses = summarise_responses(results.layers[results.layers["run_id"].isin(finished)])
    classes = summarise_classes(class_metrics(further["predictions"]))
    robustness = summarise_robustness(further["robustness"])
    choice, search = choose(results.runs), searched(results.runs)
    untrained = headline.at_chance(summary, results.runs)
    parts = {
        "summary": tables.summary_table(summary, headline.train_images(study)),
        **{
            f"verdicts_{error.split()[0]}": tables.verdict_table(verdicts, error, untrained)
            for error, verdicts in judged.items()
            if len(verdicts.degradation)
        },
        **({"frontier": tables.frontier_table(search)} if search else {}),
        **(
            {"choice": tables.choice_table(choice, differing(results.runs), len(missing))}
            if len(choice)
            else {}
        ),
        "runs": tables.runs_table(results.runs, match_twins(results.runs, results.history)),
        "missing": tables.missing_table(missing),
        **({"classes": tables.classes_table(classes)} if len(classes) else {}),
        **({"robustness": tables.robustness_table(robustness)} if len(robustness) else {}),
        **({"rates": tables.rates_table(rates)} if len(rates) else {}),
        **({"responses": tables.responses_table(responses)} if len(responses) else {}),
        **({"reproduction": tables.reproduction_table(beside)} if len(beside) else {}),
    }
    for name, table in parts.items():
        tables.write_table(table, out / "tables" / name)
    none_trains = len(untrained) == summary["network"].nunique()
    # a study of gradients alone: its networks hardly learn, and none of them was torn apart
    trained = not none_trains or rates.empty or search is not None or summary["diverged"].any()
    html = template("page.html").render(
        title=study["name"],
        study=study,
        study_toml=(path / "study.toml").read_text(encoding="utf-8"),
        command=_command(path, study),
        trained=trained,
        question=_question("frontier" in study, trained, len(judged["train error"].removals) > 0),
        train_images=headline.train_images(study),
        statuses=headline.statuses(results.runs, missing),
        verdicts=headline.verdicts(judged["train error"], untrained),
        rates=headline.rates(rates),
        responses=headline.responses(responses),
        frontier=_frontier(search, study, missing, results.runs) if "frontier" in study else [],
        degradation=headline.degradation(summary),
        choice=[] if none_trains else headline.choice(choice, len(missing)),
        groups=sorted(grouped(figures), key=lambda group: group[0]["name"] != "frontier"),
        depths=sorted(results.runs["depth"].unique()),
        tables=parts,
        environments={study["name"]: environment(store.records())},
    )
    write_text(out / "index.html", html)
    return out / "index.html"


def _question(is_search: bool, trained: bool, has_twins: bool) -> str:
    """What a page answers first."""
    if is_search:
        return "Up to which depth do they train?"
    if not trained:
        return "How does the gradient begin?"
    return "Do deeper networks train worse" + (", and do residual connections mend it?" if has_twins else "?")


def _frontier(search: Search | None, study: dict, missing: pd.DataFrame, runs: pd.DataFrame) -> list[str]:
    """What a search found, if anything, and before it whether it is finished."""
    bounds = Frontier(**study["frontier"])
    told = headline.unfinished(missing, count_open(runs, bounds.below, bounds.deepest))
    return told + (frontier_lines(search.summary.to_dict("records"), search.below) if search else [])


def grouped(figures: Iterable[dict]) -> list[list[dict]]:
    """Figures of one title together, where the first of them stands: they are shown one at a time. One that
    shows nothing, and of which nothing is to be said, is left out."""
    groups: dict[str, list[dict]] = {}
    for figure in (figure for figure in figures if figure["svg"] or figure["needs"]):
        groups.setdefault(figure["title"], []).append(figure)
    return list(groups.values())


def with_columns(results: Results) -> Results:
    """Empty tables with the columns of full ones, so that nothing downstream need ask."""
    keys = ["run_id", "network", "depth", "seed", "step"]
    columns = ([*keys, "train_error", "train_error_eval", "test_error"], [*keys, "layer", "name", "stage"])
    frames = [
        pd.DataFrame(columns=names) if frame.empty else frame
        for frame, names in zip(results[1:], columns, strict=True)
    ]
    return Results(results.runs, *frames)


def environment(records: Iterable[Record], part: str = "environment") -> dict[str, str]:
    """What the runs of `records` were made with, or how they were made (their part "execution"): key ->
    value, and how many runs where they differ."""
    found = [getattr(record, part).to_dict() for record in records]
    told = {}
    for key in dict.fromkeys(key for environment in found for key in environment):
        values = Counter(str(environment.get(key, "not recorded")) for environment in found)
        whole = [f"{value} ({n} run{'s'[: n > 1]})" for value, n in values.most_common()]
        told[key] = next(iter(values)) if len(values) == 1 else "; ".join(whole)
    return told


def _command(path: Path, study: dict) -> str:
    """What to type to run the study in `path` again, or its search, into the same directory."""
    parent = from_here(path.resolve().parent)
    into = "" if str(parent) == "results" else f" --results {shlex.quote(str(parent))}"
    file = shlex.quote(str(from_here(path / "study.toml")))
    if "frontier" in study:
        grids = [study["grid"], *study.get("also", [])]
        every = {key: dict.fromkeys(x for grid in grids for x in grid[key]) for key in ("network", "seed")}
        networks, seeds = (",".join(map(str, values)) for values in every.values())
        name = shlex.quote(study["name"])
        return f"depthbench frontier {networks} --seeds {seeds}, --study {file} --name {name}{into}"
    return f"depthbench run {file}{into}"


def from_here(path: Path) -> Path:
    """`path` as one would type it in this directory."""
    path = path.resolve()
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def template(name: str) -> Template:
    """A page's template, which knows the script of all pages."""
    environment = Environment(
        loader=PackageLoader("depthbench.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["script"] = files("depthbench.report").joinpath("page.js").read_text(encoding="utf-8")
    return environment.get_template(name)
