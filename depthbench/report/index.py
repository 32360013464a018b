"""An index of the studies and comparisons in a folder: one page with a card for each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from urllib.parse import quote

from depthbench.errors import BadInput
from depthbench.files import write_text
from depthbench.machine.units import in_bytes
from depthbench.paths import expand
from depthbench.registry import Entry
from depthbench.report import opening, sentences
from depthbench.report.entries import ANSWER, ReportFigure
from depthbench.report.evidence import Evidence
from depthbench.report.figures import COMPARISON_FIGURES, FIGURES
from depthbench.report.formats import STYLES
from depthbench.report.opening import Row
from depthbench.report.page import relative_path, template
from depthbench.store.mirror import shown
from depthbench.store.remote import push_page
from depthbench.text import shell

COMPARISONS = "comparisons"
"""The folder next to the studies that holds comparisons."""
MOST_ROWS = 4  # verdicts on a card


@dataclass(frozen=True)
class Card:
    """A study or comparison on the page."""

    name: str
    page: str = ""
    """Address of its report, relative to the index; empty if none is written."""
    question: str = ""
    rows: Sequence[Row] = ()
    more: int = 0
    """Verdicts that the card leaves out."""
    summary: str = ""
    figure: str = ""
    about: str = ""
    """Its data, runs, date and size."""
    command: str = ""
    """The command that writes its report."""
    problem: str = ""
    """Why there is nothing to show."""


def study_folders(folder: Path) -> list[Path]:
    """Return the results directories directly in `folder`, sorted. Empty if `folder` is one itself."""
    if (folder / "study.toml").is_file():
        return []
    return sorted(file.parent for file in folder.glob("*/study.toml"))


def write_index(folder: Path) -> Path:
    """Write FOLDER/index.html with a card for each study and comparison in it; return its path.

    The reports themselves are not drawn. A study that cannot be read has a card that says why. Raises
    BadInput if there is no study."""
    folder = expand(folder)
    studies = study_folders(folder)
    if not studies:
        raise BadInput(
            f"{shown(folder)} holds no studies: give a folder of results directories, e.g. results"
        )
    cards = [_study_card(path, folder) for path in studies]
    cards += [_comparison_card(page, folder) for page in sorted(folder.glob(f"{COMPARISONS}/*/index.html"))]
    html = template("index.html").render(title=folder.resolve().name, cards=cards)
    write_text(folder / "index.html", html)
    push_page(folder)
    return folder / "index.html"


def _study_card(path: Path, folder: Path) -> Card:
    try:
        evidence = Evidence.load(path)
    except BadInput as error:
        return Card(path.name, problem=str(error))
    report = path / STYLES["page"].folder
    page = _address(report / "index.html", folder)
    name, data = evidence.study["name"], evidence.study["data"]["name"]
    if name != path.name:
        name = f"{name} (in {path.name})"
    if evidence.runs.empty:  # then its tables have no columns
        return Card(name, page, about=data, problem="no run has any data yet")
    about = [data, sentences.statuses(evidence.runs, evidence.missing), _date(path), in_bytes(_size(path))]
    first = opening.of_study(evidence)
    return Card(
        name=name,
        page=page,
        question=first.question,
        rows=first.rows[:MOST_ROWS],
        more=len(first.rows[MOST_ROWS:]),
        summary=first.summary[0] if first.summary else "",
        figure=_figure(report, folder, FIGURES),
        about=" · ".join(about),
        command=shell("depthbench", "report", relative_path(path)),
    )


def _comparison_card(page: Path, folder: Path) -> Card:
    return Card(
        name=page.parent.name,
        page=_address(page, folder),
        question="How do the errors of these studies differ?",
        figure=_figure(page.parent, folder, COMPARISON_FIGURES),
        about=f"comparison · {_date(page.parent)} · {in_bytes(_size(page.parent))}",
    )


def _figure(report: Path, folder: Path, figures: Mapping[str, Entry]) -> str:
    """Return the address of the first figure of the report that answers its question, or of its first one."""
    drawn = [name for name in figures if _drawing(report, name)]
    first = [name for name in drawn if _part(figures[name]).chapter == ANSWER] or drawn
    return _address(report / "figures" / _drawing(report, first[0]), folder) if first else ""


def _drawing(report: Path, name: str) -> str:
    """Return the name of the file of a figure; empty if there is none."""
    names = (f"{name}{suffix}" for suffix in STYLES["page"].suffixes)
    return next((each for each in names if (report / "figures" / each).is_file()), "")


def _part(entry: Entry) -> ReportFigure:
    return entry.load()


def _address(file: Path, folder: Path) -> str:
    return quote(file.relative_to(folder).as_posix()) if file.is_file() else ""


def _date(path: Path) -> str:
    """Return the day on which the newest run, or the page, was written."""
    files = [*path.glob("runs/*/run.json"), *path.glob("index.html")]
    return date.fromtimestamp(max((file.stat().st_mtime for file in files), default=0)).isoformat()


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
