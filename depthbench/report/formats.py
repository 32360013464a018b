"""The styles of a report: the folder of each, and the file formats of its figures."""

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
