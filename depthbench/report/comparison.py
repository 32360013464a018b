"""The page of a comparison: several results directories -> figures, tables and one HTML file."""

import math
import shlex
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from depthbench.analysis.comparison import MADE_WITH, cautions, differences, differing, label_each, together
from depthbench.analysis.missing import missing_runs
from depthbench.analysis.protocol import is_from_paper, settled_options
from depthbench.analysis.summary import summarise
from depthbench.errors import BadInput
from depthbench.files import write_text
from depthbench.networks.options import NetworkOptions
from depthbench.report import COMPARISONS
from depthbench.report import sentences as headline
from depthbench.report.drawing import draw_figures
from depthbench.report.page import environment, from_here, grouped, template, with_columns
from depthbench.report.tables import all as tables
from depthbench.store.results import Results, load_results
from depthbench.store.settings import shared_settings
from depthbench.store.study_store import StudyStore
from depthbench.study.grid import requested_runs


def write_comparison(paths: Sequence[str | Path], out: str | Path | None = None) -> Path:
    """Write one report of several results directories, the first of which the others are held against, to
    `out`, by default comparisons/FIRST-vs-OTHER beside the first: index.html, figures/, tables/.

    Returns the path of index.html. Raises BadInput for fewer than two directories, for one that is named
    twice or holds no results, and where no run has finished."""
    paths = [Path(path) for path in paths]
    if len(paths) < 2:
        raise BadInput("a comparison needs two or more results directories: name another one")
    labels = label_each(paths)
    chosen = out and Path(out)
    out = Path(out or paths[0].parent / "comparisons" / "-vs-".join(labels).replace("/", "-"))
    if out.exists() and not out.is_dir():
        raise BadInput(f"--out {out} is a file: give a folder")
    stores = dict(zip(labels, map(StudyStore, paths), strict=True))
    studies = {label: store.table() for label, store in stores.items()}
    results = {label: with_columns(load_results(store.path)) for label, store in stores.items()}
    for label, found in results.items():
        if found.runs.empty:
            raise BadInput(f"{label}: no run has any data yet, so there is nothing to compare")
    joined = together(results)
    each = {label: _settings(studies[label], store) for label, store in stores.items()}
    _forget_what_is_as_unset(each, results)
    settings = differing(each)
    found, others = differences(joined), _of_other_images(studies)
    found.loc[found["study"].isin(others), ["p", "p_holm"]] = math.nan  # of two tasks nothing is tested
    parts = {
        "differences": tables.differences_table(found, labels[0]),
        "settings": tables.settings_table(settings),
        "summary": tables.summary_table(_summary(joined.runs), "the images of each study"),
    }
    for name, table in parts.items():
        tables.write_table(table, out / "tables" / name)
    drawn = [(name, entry, (joined,)) for name, entry in COMPARISONS.items()]
    figures = draw_figures(drawn, joined.runs["network"].nunique(), out / "figures")
    html = template("comparison.html").render(
        title=" and ".join(labels),
        first=labels[0],
        studies=[(label, _told(studies[label], results[label].runs)) for label in labels],
        cautions=cautions(settings, joined.runs) + headline.copies(found, others),
        sentences=headline.differences(found, labels[0], others),
        groups=grouped(figures),
        depths=sorted(joined.runs["depth"].unique()),
        environments={label: environment(store.records()) for label, store in stores.items()},
        tables=parts,
        command=" ".join(["depthbench compare", *(shlex.quote(str(from_here(path))) for path in paths)])
        + (f" --out {shlex.quote(str(from_here(chosen)))}" if chosen else ""),
    )
    write_text(out / "index.html", html)
    return out / "index.html"


def _settings(study: dict, store: StudyStore) -> dict[str, object]:
    """What a study's runs have in common, its variants and the code of its plug-ins, its images, and what
    they were made with and how."""
    told = {"images": study.get("data_hash", "")[:12]} | shared_settings(study)
    told |= {f"variants.{name}": variant for name, variant in study.get("variants", {}).items()}
    records = store.records()
    code = {record.network: record.plugin for record in records}
    told |= {
        f"plug-in.{name}": "+".join(part[:12] for part in plugin.split("+"))
        for name, plugin in code.items()
        if plugin
    }
    for part in MADE_WITH:
        told |= {part + key: value for key, value in environment(records, part.removesuffix(".")).items()}
    return told


def _forget_what_is_as_unset(settings: dict[str, dict], results: dict[str, Results]) -> None:
    """Take options out of `settings` that a study leaves unset and that others set to what each of their
    networks has anyway."""
    unset = (f"options.{key}" for key, field in NetworkOptions.model_fields.items() if field.default is None)
    for key in unset:
        having = [label for label, table in settings.items() if key in table]
        if len(having) < len(settings) and all(
            _is_as_unset(key, settings[label][key], results[label].runs) for label in having
        ):
            for label in having:
                del settings[label][key]


def _is_as_unset(key: str, value: object, runs: pd.DataFrame) -> bool:
    """Whether an option is set to what each of a study's networks has without it."""
    families = runs[["family", "depth"]].drop_duplicates().to_dict("records")
    return all(
        is_from_paper(run["family"]) and settled_options(run | {key: value}) == settled_options(run)
        for run in families
    )


def _of_other_images(studies: dict[str, dict]) -> list[str]:
    """The labels of those whose images are not the first one's."""
    images = {label: study.get("data_hash") for label, study in studies.items()}
    first, *_ = images.values()
    return [label for label, found in images.items() if found != first]


def _told(study: dict, runs: pd.DataFrame) -> str:
    missing = missing_runs(requested_runs(study), runs)
    return f"{study['data']['name']}; {headline.statuses(runs, missing)}"


def _summary(runs: pd.DataFrame) -> pd.DataFrame:
    """`summarise` of each study, under the names that its networks have there."""
    parts = [
        summarise(group.assign(network=group["own_network"])).assign(study=study)
        for study, group in runs.groupby("study", sort=False)
    ]
    summary = pd.concat(parts, ignore_index=True)
    return summary.assign(network=summary.pop("study") + ": " + summary["network"])
