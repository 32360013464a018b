"""The report of a comparison: several studies in one page."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from depthbench.analysis.comparison import cautions, label_each
from depthbench.errors import BadInput
from depthbench.files import write_text
from depthbench.report import sentences
from depthbench.report.drawing import draw_figures
from depthbench.report.evidence import Comparison, Evidence
from depthbench.report.figures import COMPARISON_FIGURES
from depthbench.report.page import grouped, relative_path, template
from depthbench.report.settings import environment
from depthbench.report.tables import COMPARISON_TABLES
from depthbench.report.tables.writing import write_tables


def write_comparison(paths: Sequence[str | Path], out: str | Path | None = None) -> Path:
    """Write one report that compares several studies with the first; return the path of index.html.

    `paths` are results directories. The report (index.html, figures/, tables/) goes to `out`, by default
    comparisons/FIRST-vs-OTHER next to the first directory.

    Raises BadInput for fewer than two directories, for one that is named twice or holds no results, and if a
    study has no run with data."""
    folders = [Path(path) for path in paths]
    if len(folders) < 2:
        raise BadInput("a comparison needs at least two results directories: name another one")
    labels = label_each(folders)
    chosen = out and Path(out)
    out = Path(out or folders[0].parent / "comparisons" / "-vs-".join(labels).replace("/", "-"))
    if out.exists() and not out.is_dir():
        raise BadInput(f"--out {out} is a file: name a folder")
    evidence = {label: Evidence.load(path) for label, path in zip(labels, folders, strict=True)}
    for label, study in evidence.items():
        if study.runs.empty:
            raise BadInput(f"{label}: no run has any data yet; run the study first")
    compared = Comparison(evidence)
    runs = compared.joined.runs
    figures = draw_figures(
        COMPARISON_FIGURES, compared, networks=runs["network"].nunique(), folder=out / "figures"
    )
    tables = write_tables(COMPARISON_TABLES, compared, out / "tables")
    html = template("comparison.html").render(
        title=" and ".join(labels),
        baseline=labels[0],
        studies={
            label: f"{study.study['data']['name']}; {sentences.statuses(study.runs, study.missing)}"
            for label, study in evidence.items()
        },
        cautions=cautions(compared.settings, runs)
        + sentences.copies(compared.differences, labels[0], compared.other_images),
        sentences=sentences.differences(compared.differences, labels[0], compared.other_images),
        groups=grouped(figures),
        depths=sorted(runs["depth"].unique()),
        environments={label: environment(study.records) for label, study in evidence.items()},
        tables=tables,
        command=" ".join(["depthbench compare", *(shlex.quote(str(relative_path(path))) for path in folders)])
        + (f" --out {shlex.quote(str(relative_path(chosen)))}" if chosen else ""),
    )
    write_text(out / "index.html", html)
    return out / "index.html"
