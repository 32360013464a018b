"""The report of one study: figures, tables and one HTML page that opens offline."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from depthbench.analysis import FINISHED
from depthbench.analysis.causes import tally
from depthbench.errors import BadInput, any_of
from depthbench.files import remove_partial_files, write_text
from depthbench.paths import expand
from depthbench.plugins.installed import add_installed
from depthbench.plugins.neighbours import neighbours_of
from depthbench.registry import Entry
from depthbench.report import changing, choosing, opening, sentences, sweeping
from depthbench.report.drawing import FigureOnPage, draw_figures
from depthbench.report.entries import ANSWER, CHAPTERS
from depthbench.report.evidence import Comparison, Evidence
from depthbench.report.figures import FIGURES
from depthbench.report.formats import STYLES
from depthbench.report.opening import Opening
from depthbench.report.settings import environment
from depthbench.report.tables import TABLES
from depthbench.report.tables.writing import TableOnPage, write_tables
from depthbench.report.undecided import keep_undecided
from depthbench.store.mirror import shown
from depthbench.store.plugin_copies import copies_of, read_copies
from depthbench.store.record import Record
from depthbench.store.remote import fetch, folder_of, push
from depthbench.study.grid import grids_of
from depthbench.text import printable, shell


def write_report(
    paths: str | Path | Sequence[str | Path], out: str | Path | None = None, style: str = "page"
) -> Path:
    """Write the report of one study's results, or of each of several; return the path of the last index.html.

    `paths` is a results directory, its URL, or a list of these. A report is RESULTS/report/, or `out` for one
    directory: index.html, one file that opens offline; figures/NAME.svg and .png; tables/NAME.csv, .md and
    .tex. Style `paper` adds PDF figures. Style `slides` writes 16:9 figures with larger text and lines, as
    PDF too, to RESULTS/report-slides/. Files of an older report are replaced. Errors are in percent.

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
    for path in map(fetch, paths):
        folder = path / STYLES[style].folder if out is None else folder_of(out)
        page = write_page(path, folder, style)
        push(folder)
    return page


def write_page(path: Path, out: Path, style: str = "page") -> Path:
    """Write the report of the results in `path` to `out`; return the path of index.html.

    Raises BadInput if there are no results, or no run has data."""
    # It imports matplotlib, so only where figures are drawn.
    from depthbench.report.figures.probe_by_layer import figures_of_probes

    evidence = Evidence.load(path)
    runs = evidence.runs
    if runs.empty or not (len(evidence.history) or runs["status"].isin(FINISHED).any()):
        first = "make a step in the loop" if "watched" in evidence.study else "run the study first"
        raise BadInput(f"{shown(path)}: no run has any data yet; {first}")
    evidence.prepare()
    add_installed()  # packages can have figures and tables
    figures = FIGURES | figures_of_probes(evidence)
    parts = write_parts(figures, TABLES, evidence, networks=runs["network"].nunique(), out=out, style=style)
    keep_undecided(evidence)  # so that `show` need not analyse the runs again
    return render(
        out,
        parts,
        opening.of_study(evidence),
        title=evidence.study["name"],
        subtitle=f"{evidence.study['data']['name']} · {sentences.statuses(runs, evidence.missing)}",
        sentences={
            "sweep": [line for swept in evidence.sweeps for line in sweeping.details(swept)],
            "changes": _changes(evidence),
            "gradients": sentences.zero_gradients(evidence.gradients, evidence.predicted),
            "layers": list(filter(None, [sentences.responses(evidence.responses)])),
            "published": _rates(evidence),
            "classes": sentences.weak_recalls(evidence.classes),
            "choice": _choice(evidence) if evidence.is_trained else [],
        },
        depths=sorted(runs["depth"].unique()),
        environments={evidence.study["name"]: environment(evidence.records)},
        files={"study.toml, as run": (path / "study.toml").read_text(encoding="utf-8")},
        copies=_copies(path, evidence.records),
        command=_command(path, evidence.study),
        plugins=_with_neighbours(_plugins(path, evidence.study)),
    )


@dataclass(frozen=True)
class PluginOnPage:
    """A stored plug-in as the page shows it."""

    name: str
    path: str
    source: str
    networks: Sequence[str]
    """The networks whose runs used it."""
    files: Mapping[str, str]
    """Name -> text of the plug-in and its neighbours."""


def _copies(path: Path, records: Sequence[Record]) -> list[PluginOnPage]:
    """Return the plug-ins that are stored with the results."""
    return [
        PluginOnPage(
            name=plugin.path.name,
            path=str(plugin.path.relative_to(path)),
            source=plugin.source,
            networks=sorted({record.network for record in records if plugin.source in record.plugin}),
            files={
                name: printable(content.decode("utf-8", "replace")) for name, content in plugin.files.items()
            },
        )
        for plugin in read_copies(path)
    ]


def _rates(evidence: Evidence) -> list[str]:
    """Return the sentences on the rates of gradients, unless the page opens with them."""
    lines = sentences.rates(evidence.rates)
    return lines if evidence.is_trained or lines[0] not in opening.of_study(evidence).summary else []


def _changes(evidence: Evidence) -> list[str]:
    """Return the sentences on what each change of a baseline does."""
    known = tally(evidence.causes) if len(evidence.causes) else None
    lines = [] if known is None else changing.explanations(known)
    return [*lines, *changing.costs(evidence.deviations)]


def _choice(evidence: Evidence) -> list[str]:
    recommended = choosing.choice(
        evidence.choice,
        len(evidence.missing),
        images=choosing.validation_images(evidence.records, evidence.study["data"]),
        classes=evidence.classes,
    )
    return [*recommended, *choosing.pareto(evidence.choice, evidence.incomparable_costs)]


@dataclass(frozen=True)
class Chapter:
    """A chapter of a page."""

    name: str
    title: str = ""
    figures: Sequence[Sequence[FigureOnPage]] = ()
    """Figures in groups of one title, of which the page shows one at a time."""
    tables: Sequence[TableOnPage] = ()
    sentences: Sequence[str] = ()

    @property
    def contents(self) -> str:
        """What the chapter holds, in a line."""
        drawn = [group[0].title for group in self.figures if any(figure.svg for figure in group)]
        titles = [*drawn, *(part.title for part in self.tables)]
        return " · ".join(dict.fromkeys(titles))  # a figure and a table may share a title

    @property
    def needs(self) -> str:
        """What a chapter without anything to show needs, in a sentence; empty if it shows something."""
        figures = [figure for group in self.figures for figure in group]
        if self.tables or self.sentences or not figures or any(figure.svg for figure in figures):
            return ""
        return f"Nothing to show: this needs {any_of(dict.fromkeys(figure.needs for figure in figures))}."

    @property
    def is_empty(self) -> bool:
        return not (self.figures or self.tables or self.sentences)


@dataclass(frozen=True)
class Parts:
    """The written figures and tables of a report."""

    figures: Sequence[FigureOnPage]
    tables: Sequence[TableOnPage]

    def chapter(self, name: str, title: str = "", sentences: Sequence[str] = ()) -> Chapter:
        """Return the chapter of this name."""
        figures = [figure for figure in self.figures if figure.chapter == name]
        tables = [table for table in self.tables if table.chapter == name]
        return Chapter(name, title, grouped(figures), tables, sentences)


def write_parts(
    figures: Mapping[str, Entry],
    tables: Mapping[str, Entry],
    evidence: Evidence | Comparison,
    *,
    networks: int,
    out: Path,
    style: str = "page",
) -> Parts:
    """Write the figures and tables of a report to `out`."""
    remove_partial_files(out)  # of a report that was killed
    written = write_tables(tables, evidence, out / "tables")  # first, because the figures reuse the analyses
    drawn = draw_figures(figures, evidence, networks=networks, folder=out / "figures", style=style)
    return Parts(drawn, written)


def render(
    out: Path,
    parts: Parts,
    first: Opening,
    *,
    sentences: Mapping[str, Sequence[str]],
    plugins: Sequence[str] = (),
    copies: Sequence[PluginOnPage] = (),
    **variables: Any,
) -> Path:
    """Write index.html, one file that opens offline, to `out`; return its path.

    `sentences`: the sentences of each chapter. `plugins`: the plug-ins that the command on the page executes.
    `copies`: the plug-ins that are stored with the results. `variables`: further variables of page.html."""
    chapters = [parts.chapter(name, title, sentences.get(name, ())) for name, title in CHAPTERS.items()]
    html = template("page.html").render(
        opening=first,
        headings=opening.HEADINGS,
        answer=parts.chapter(ANSWER),
        chapters=[chapter for chapter in chapters if not chapter.is_empty or chapter.name == "runs"],
        plugins=plugins,
        copies=copies,
        **variables,
    )
    write_text(out / "index.html", html)
    return out / "index.html"


def _command(path: Path, study: Mapping[str, Any]) -> str:
    """Return the command that repeats the study in `path`, or its search, in the same directory.

    Empty for runs that another loop trained. The command names the plug-ins, because it would be refused
    without them (cli/consent.py)."""
    if "watched" in study:
        return ""
    parent = relative_path(path.resolve().parent)
    results = [] if parent == "results" else ["--results", parent]
    file = relative_path(path / "study.toml")
    results += [word for plugin in _plugins(path, study) for word in ("--plugin", plugin)]
    if "frontier" in study:
        grids = grids_of(study)
        networks, seeds = (
            ",".join(map(str, dict.fromkeys(value for grid in grids for value in getattr(grid, key))))
            for key in ("network", "seed")
        )
        name = study.get("name") or path.resolve().name
        searched = (networks, "--seeds", f"{seeds},", "--study", file, "--name", name)
        return shell("depthbench", "frontier", *searched, *results)
    return shell("depthbench", "run", file, *results)


def _plugins(path: Path, study: Mapping[str, Any]) -> list[str]:
    """Return the paths of the plug-ins that the study in `path` names, or of the copies of missing ones."""
    named = study.get("plugins")
    names = [name for name in named if isinstance(name, str)] if isinstance(named, list) else []
    files = [path / expand(name) for name in names]
    found = [[file] if file.is_file() else copies_of(path / "study.toml", file) or [file] for file in files]
    return list(dict.fromkeys(relative_path(file) for each in found for file in each))


def _with_neighbours(plugins: Iterable[str]) -> list[str]:
    """Return the paths of plug-ins and of the files next to them that they import."""
    paths = []
    for plugin in map(Path, plugins):
        names = neighbours_of(plugin) if plugin.is_file() else ()
        paths += [str(plugin), *(str(plugin.parent / name) for name in sorted(names))]
    return paths


def grouped(figures: Iterable[FigureOnPage]) -> list[list[FigureOnPage]]:
    """Group figures by title, in order. The page shows one figure of a group at a time.

    Omits figures that have nothing to show, unless they say what they need."""
    groups: dict[str, list[FigureOnPage]] = {}
    for figure in (figure for figure in figures if figure.svg or figure.needs):
        groups.setdefault(figure.title, []).append(figure)
    return list(groups.values())


def relative_path(path: Path) -> str:
    """Return `path` relative to the working directory if it lies inside it, or the URL that it mirrors."""
    path = path.resolve()
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else shown(path))


def template(name: str) -> Template:
    """Load the template of a page, with the style, the script and the filters that all pages share."""
    environment = Environment(
        loader=PackageLoader("depthbench.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name_, file in (("script", "page.js"), ("style", "page.css")):
        environment.globals[name_] = files("depthbench.report").joinpath(file).read_text(encoding="utf-8")
    environment.filters["prose"] = _prose
    environment.filters["json"] = lambda text: Markup(text.replace("<", "\\u003c"))
    return environment.get_template(name)


UNBROKEN = re.compile(r"(?<=\d) (?=%)|(?<=\b[np]) (?=[=&])|(?<==) (?=\d)|(?<=&lt;) (?=\d)")
"""Spaces at which a line must not break, as in `57.3 %`, `n = 3` and `p < 0.001`, in escaped HTML."""

MINUS = re.compile(r"(?<=\de)-(?=\d)")
"""The minus sign of `4.87e-06`, after which a line must not break."""


def _prose(text: str) -> Markup:
    """Return text as HTML, with `code` in backticks as <code>, and with numbers that no line breaks."""
    parts = re.split(r"`([^`]+)`", str(escape(text)))
    parts[::2] = [
        MINUS.sub("\N{NON-BREAKING HYPHEN}", UNBROKEN.sub("\N{NO-BREAK SPACE}", part)) for part in parts[::2]
    ]
    parts[1::2] = [f"<code>{code}</code>" for code in parts[1::2]]
    return Markup("".join(parts))
