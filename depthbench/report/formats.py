"""The styles of a report: where each is written, and in which file formats its figures are."""

from typing import NamedTuple

SUFFIXES = (".svg", ".png", ".pdf")


class Style(NamedTuple):
    """One style of a report. PDF is optional, because embedding fonts takes seconds."""

    folder: str
    suffixes: tuple[str, ...]


STYLES = {
    "page": Style("report", SUFFIXES[:2]),
    "paper": Style("report", SUFFIXES),
    "slides": Style("report-slides", SUFFIXES),
}
