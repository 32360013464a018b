"""The report of a comparison: several studies in one page."""

from collections.abc import Sequence
from pathlib import Path

from depthbench.analysis.comparison import label_each
from depthbench.errors import BadInput
from depthbench.report import opening, sentences
from depthbench.report.evidence import Comparison, Evidence
from depthbench.report.figures import COMPARISON_FIGURES
from depthbench.report.page import relative_path, render, write_parts
from depthbench.report.settings import environment
from depthbench.report.tables import COMPARISON_TABLES
from depthbench.store.mirror import shown
from depthbench.store.remote import fetch, folder_of, push
from depthbench.text import listed, shell


def write_comparison(paths: Sequence[str | Path], out: str | Path | None = None) -> Path:
    """Write one report that compares several studies with the first; return the path of index.html.

    `paths` are results directories or their URLs. The report (index.html, figures/, tables/) goes to `out`,
    by default comparisons/FIRST-vs-OTHER next to the first directory.

    Raises BadInput for fewer than two directories, for one that is named twice or holds no results, and if a
    study has no run with data."""
    if len(paths) < 2:
        raise BadInput("a comparison needs at least two results directories: name another one")
    folders = [fetch(path) for path in paths]
    labels = label_each(folders)
    chosen = folder_of(out) if out else None
    out = Path(chosen or folders[0].parent / "comparisons" / "-vs-".join(labels).replace("/", "-"))
    if out.exists() and not out.is_dir():
        raise BadInput(f"--out {shown(out)} is a file: name a folder")
    evidence = {label: Evidence.load(path) for label, path in zip(labels, folders, strict=True)}
    for label, study in evidence.items():
        if study.runs.empty:
            raise BadInput(f"{label}: no run has any data yet; run the study first")
    compared = Comparison(evidence)
    runs = compared.joined.runs
    parts = write_parts(
        COMPARISON_FIGURES, COMPARISON_TABLES, compared, networks=runs["network"].nunique(), out=out
    )
    page = render(
        out,
        parts,
        opening.of_comparison(compared),
        title=listed(labels),
        subtitle=f"each compared with the first, {labels[0]}",
        sentences={
            "runs": [
                f"{label}, {study.study['data']['name']}, {sentences.statuses(study.runs, study.missing)}."
                for label, study in evidence.items()
            ]
        },
        depths=sorted(runs["depth"].unique()),
        environments={label: environment(study.records) for label, study in evidence.items()},
        files={},
        command=shell(
            *("depthbench", "compare", *map(relative_path, folders)),
            *(("--out", relative_path(chosen)) if chosen else ()),
        ),
    )
    push(out)
    return page
