"""The page of a report: results -> figures, tables and one HTML file that opens offline."""

import shlex
from collections import Counter
from importlib.resources import files
from pathlib import Path

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from depthbench.analysis import FINISHED
from depthbench.analysis.choice import choose, differing
from depthbench.analysis.matching import match_twins
from depthbench.analysis.missing import missing_runs
from depthbench.analysis.reference import reproduction
from depthbench.analysis.summary import summarise
from depthbench.analysis.theory import measured_rates
from depthbench.analysis.verdict import judge
from depthbench.errors import BadInput
from depthbench.files import write_text
from depthbench.report import FIGURES, SUFFIXES, headline, svg, tables
from depthbench.report.style import save, styled
from depthbench.store import Results, StudyStore, load_results

JUDGED = {"train error": "train_error_eval", "test error": "test_error"}


def write_page(path: Path, out: Path, style: str = "paper") -> Path:
    """Write the report of the results in `path` to `out`: figures, tables, index.html, in this order. `style`
    is that of the figures.

    Returns the path of index.html. Raises BadInput where there are no results, or no run has data."""
    store = StudyStore(path)
    study, results = store.table(), load_results(path)
    if results.runs.empty or not (len(results.history) or results.runs["status"].isin(FINISHED).any()):
        raise BadInput(f"{path}: no run has any data yet, so there is nothing to report: run the study first")
    results = _with_columns(results)
    summary = summarise(results.runs)
    missing = missing_runs([study["grid"], *study.get("also", [])], results.runs)
    margin = study.get("verdict", {}).get("margin")
    judged = {error: judge(*results[:2], column, margin) for error, column in JUDGED.items()}
    beside = reproduction(results.runs)
    rates = measured_rates(results.runs, results.layers)
    choice = choose(results.runs)
    parts = {
        "summary": tables.summary_table(summary),
        **{
            f"verdicts_{error.split()[0]}": tables.verdict_table(verdicts, error)
            for error, verdicts in judged.items()
            if len(verdicts.degradation)
        },
        **({"choice": tables.choice_table(choice, differing(results.runs))} if len(choice) else {}),
        "runs": tables.runs_table(results.runs, match_twins(results.runs, results.history)),
        "missing": tables.missing_table(missing),
        **({"rates": tables.rates_table(rates)} if rates["predicted"].notna().any() else {}),
        **({"reproduction": tables.reproduction_table(beside)} if len(beside) else {}),
    }
    for name, table in parts.items():
        tables.write_table(table, out / "tables" / name)
    figures = [_figure(name, results, out / "figures", style) for name in FIGURES]
    html = _template().render(
        study=study,
        study_toml=(path / "study.toml").read_text(encoding="utf-8"),
        command=_command(path),
        statuses=headline.statuses(results.runs, missing),
        verdicts=headline.verdicts(judged["train error"]),
        degradation=headline.degradation(summary),
        choice=headline.choice(choice),
        groups=_grouped([figure for figure in figures if figure["svg"] or figure["needs"]]),
        depths=sorted(results.runs["depth"].unique()),
        tables=parts,
        environment=_environment(store),
        script=files("depthbench.report").joinpath("page.js").read_text(encoding="utf-8"),
    )
    write_text(out / "index.html", html)
    return out / "index.html"


def _grouped(figures: list[dict]) -> list[list[dict]]:
    """Figures of one title together, where the first of them stands: they are shown one at a time."""
    groups: dict[str, list[dict]] = {}
    for figure in figures:
        groups.setdefault(figure["title"], []).append(figure)
    return list(groups.values())


def _figure(name: str, results: Results, folder: Path, style: str) -> dict:
    """Draw and write a figure; what the template needs of it. `svg` is None if there is nothing to show."""
    entry, file = FIGURES[name], folder / name
    shown = {key: getattr(entry, key) for key in ("title", "choice", "about", "needs")}
    shown |= {"name": name, "svg": None}
    figure = entry.draw(results, style)
    if figure is None:
        for suffix in SUFFIXES:  # of an older report: it would be taken for this one's
            file.with_suffix(suffix).unlink(missing_ok=True)
        return shown
    with styled(style):
        save(figure, file)
    text = file.with_suffix(".svg").read_text(encoding="utf-8")
    title = ", ".join(filter(None, (entry.title, entry.choice)))
    return shown | {"svg": svg.inline(text, name, f"{title}. {entry.about}")}


def _with_columns(results: Results) -> Results:
    """Empty tables with the columns of full ones, so that nothing downstream need ask."""
    keys = ["run_id", "network", "depth", "seed", "step"]
    columns = ([*keys, "train_error", "train_error_eval", "test_error"], [*keys, "layer", "name", "stage"])
    frames = [
        pd.DataFrame(columns=names) if frame.empty else frame
        for frame, names in zip(results[1:], columns, strict=True)
    ]
    return Results(results.runs, *frames)


def _environment(store: StudyStore) -> list[tuple[str, str]]:
    """What the runs were made with: key -> value, and how many runs where they differ."""
    records = [record for run in store.run_stores() if (record := run.read()) is not None]
    found = [record.get("environment") or {} for record in records]
    rows = []
    for key in dict.fromkeys(key for environment in found for key in environment):
        values = Counter(str(environment.get(key, "not recorded")) for environment in found)
        if len(values) == 1:
            rows.append((key, next(iter(values))))
        else:
            rows.append((key, "; ".join(f"{value} ({n} runs)" for value, n in values.most_common())))
    return rows


def _command(path: Path) -> str:
    """What to type to run the study in `path` again, into the same directory."""
    parent = _from_here(path.resolve().parent)
    into = "" if str(parent) == "results" else f" --results {shlex.quote(str(parent))}"
    return f"depthbench run {shlex.quote(str(_from_here(path / 'study.toml')))}{into}"


def _from_here(path: Path) -> Path:
    """`path` as one would type it in this directory."""
    path = path.resolve()
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _template():
    environment = Environment(
        loader=PackageLoader("depthbench.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")
