"""The report of one study: figures, tables and one HTML page that opens offline."""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from depthbench.analysis import FINISHED
from depthbench.analysis.frontier import count_open
from depthbench.analysis.rows import rows_of
from depthbench.errors import BadInput, any_of
from depthbench.files import write_text
from depthbench.report import sentences
from depthbench.report.drawing import FigureOnPage, draw_figures
from depthbench.report.evidence import Evidence
from depthbench.report.figures import FIGURES
from depthbench.report.formats import STYLES
from depthbench.report.settings import environment
from depthbench.report.tables import TABLES
from depthbench.report.tables.writing import write_tables
from depthbench.study.model import Frontier


def write_report(
    paths: str | Path | Sequence[str | Path], out: str | Path | None = None, style: str = "page"
) -> Path:
    """Write the report of one study, or of each of several; return the path of the last index.html.

    `paths` is a results directory or a list of them. A report is RESULTS/report/, or `out` for one directory:
    index.html, one file that opens offline; figures/NAME.svg and .png; tables/NAME.csv, .md and .tex. Style
    `paper` adds PDF figures. Style `slides` writes 16:9 figures with larger text and lines, as PDF too, to
    RESULTS/report-slides/. Files of an older report are replaced. Errors are in percent.

    Raises BadInput if a directory holds no results or no run has data, for an unknown style, and for `out`
    with several directories."""
    paths = [paths] if isinstance(paths, str | Path) else list(paths)
    if not paths:
        raise BadInput("no results directory was given: name at least one")
    if out is not None and len(paths) > 1:
        raise BadInput(
            f"out = {out} can hold only one report, but {len(paths)} results directories were given: omit it"
        )
    if style not in STYLES:
        raise BadInput(f"--style {style}: no such style; use {any_of(STYLES)}")
    pages = [write_page(Path(path), Path(out or Path(path) / STYLES[style].folder), style) for path in paths]
    return pages[-1]


def write_page(path: Path, out: Path, style: str = "page") -> Path:
    """Write the report of the results in `path` to `out`; return the path of index.html.

    Raises BadInput if there are no results, or no run has data."""
    evidence = Evidence.load(path)
    runs = evidence.runs
    if runs.empty or not (len(evidence.history) or runs["status"].isin(FINISHED).any()):
        raise BadInput(f"{path}: no run has any data yet; run the study first")
    figures = draw_figures(
        FIGURES, evidence, networks=runs["network"].nunique(), folder=out / "figures", style=style
    )
    tables = write_tables(TABLES, evidence, out / "tables")  # while other processes draw
    html = template("page.html").render(
        title=evidence.study["name"],
        study=evidence.study,
        study_toml=(path / "study.toml").read_text(encoding="utf-8"),
        command=_command(path, evidence.study),
        groups=grouped(figures),
        depths=sorted(runs["depth"].unique()),
        tables=tables,
        environments={evidence.study["name"]: environment(evidence.records)},
        **_answers(evidence),
    )
    write_text(out / "index.html", html)
    return out / "index.html"


def _answers(evidence: Evidence) -> dict[str, Any]:
    """Return the variables of the page's first section."""
    is_search = "frontier" in evidence.study
    verdicts = evidence.verdicts["train_error_eval"]
    none_trains = len(evidence.untrained) == evidence.summary["network"].nunique()
    # if no network learns and none diverges, the study measures only gradients
    is_trained = (
        not none_trains
        or evidence.rates.empty
        or evidence.search is not None
        or bool(evidence.summary["diverged"].any())
    )
    return {
        "question": _question(is_search, is_trained, len(verdicts.removals) > 0),
        "statuses": sentences.statuses(evidence.runs, evidence.missing),
        "trained": is_trained,
        "frontier": _frontier(evidence) if is_search else [],
        "verdicts": sentences.verdicts(verdicts, evidence.untrained),
        "degradation": sentences.degradation(evidence.summary),
        "responses": sentences.responses(evidence.responses),
        "rates": sentences.rates(evidence.rates),
        "choice": [] if none_trains else sentences.choice(evidence.choice, len(evidence.missing)),
        "train_images": sentences.train_images(evidence.study),
    }


def _question(is_search: bool, is_trained: bool, has_twins: bool) -> str:
    """Return the question that the page answers first."""
    if is_search:
        return "How deep do these networks train?"
    if not is_trained:
        return "How large are the gradients at initialisation?"
    return "Do deeper networks train worse" + (
        ", and do residual connections change that?" if has_twins else "?"
    )


def _frontier(evidence: Evidence) -> list[str]:
    """Return sentences that say whether a search is finished and what it measured."""
    bounds = Frontier(**evidence.study["frontier"])
    lines = sentences.unfinished(evidence.missing, count_open(evidence.runs, bounds.below, bounds.deepest))
    if search := evidence.search:
        lines += sentences.frontier_lines(rows_of(search.summary), search.below)
    return lines


def _command(path: Path, study: Mapping[str, Any]) -> str:
    """Return the command that repeats the study in `path`, or its search, in the same directory."""
    parent = relative_path(path.resolve().parent)
    results = "" if str(parent) == "results" else f" --results {shlex.quote(str(parent))}"
    file = shlex.quote(str(relative_path(path / "study.toml")))
    if "frontier" in study:
        grids = [study["grid"], *study.get("also", [])]
        every = {key: dict.fromkeys(x for grid in grids for x in grid[key]) for key in ("network", "seed")}
        networks, seeds = (",".join(map(str, values)) for values in every.values())
        name = shlex.quote(study["name"])
        return f"depthbench frontier {networks} --seeds {seeds}, --study {file} --name {name}{results}"
    return f"depthbench run {file}{results}"


def grouped(figures: Iterable[FigureOnPage]) -> list[list[FigureOnPage]]:
    """Group figures by title, in order. The page shows one figure of a group at a time.

    Omits figures that have nothing to show, unless they say what they need."""
    groups: dict[str, list[FigureOnPage]] = {}
    for figure in (figure for figure in figures if figure.svg or figure.needs):
        groups.setdefault(figure.title, []).append(figure)
    return list(groups.values())


def relative_path(path: Path) -> Path:
    """Return `path` relative to the working directory if it lies inside it."""
    path = path.resolve()
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _prose(text: str) -> Markup:
    """Return text as HTML, with `code` in backticks as <code>."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def template(name: str) -> Template:
    """Load the template of a page, with the script and the filter that all pages share."""
    environment = Environment(
        loader=PackageLoader("depthbench.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["prose"] = _prose
    environment.globals["script"] = files("depthbench.report").joinpath("page.js").read_text(encoding="utf-8")
    return environment.get_template(name)
