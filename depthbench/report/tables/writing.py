"""Write tables as CSV, Markdown and LaTeX."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from depthbench.errors import one_line
from depthbench.files import atomic, write_text
from depthbench.registry import Entry
from depthbench.report.entries import ReportTable, Table
from depthbench.text import single_line

SUFFIXES = (".csv", ".md", ".tex")
PREAMBLE = "% the preamble needs: \\usepackage{booktabs, graphicx}\n"
FITTED = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%" + "\n"  # needs graphicx


@dataclass(frozen=True)
class TableOnPage:
    """A table as the page shows it."""

    name: str
    title: str
    chapter: str
    table: Table


def write_tables(entries: Mapping[str, Entry], evidence: Any, folder: Path) -> list[TableOnPage]:
    """Build and write every table of `entries` that applies, in order; remove older files of the others."""
    tables = []
    for name, entry in entries.items():
        part: ReportTable
        try:
            part = entry.load()
            table = part.build(evidence)
        except Exception as error:
            if not entry.origin:
                raise
            problem = f"the table {name!r} of {entry.origin} raised {one_line(error)}"
            print(f"depthbench: {single_line(problem)}; the report leaves it out", file=sys.stderr)
            table = None
        if table is None:
            for suffix in SUFFIXES:
                (folder / name).with_suffix(suffix).unlink(missing_ok=True)
            continue
        write_table(part.title, table, folder / name)
        tables.append(TableOnPage(name, part.title, part.chapter, table))
    return tables


def write_table(title: str, table: Table, path: Path) -> None:
    """Write PATH.csv with the raw numbers, and PATH.md and PATH.tex with the text."""
    with atomic(path.with_suffix(".csv")) as temporary:
        table.raw.to_csv(temporary, index=False, float_format="%.8g")
    text = f"{table.nothing}\n" if table.shown.empty else markdown(table.shown)
    write_text(path.with_suffix(".md"), f"# {title}\n\n{table.note}\n\n{text}")
    write_text(path.with_suffix(".tex"), latex(title, table))


def latex(title: str, table: Table) -> str:
    """Return a booktabs table with the title as its caption and the note as a comment.

    A table wider than the text is scaled down."""
    style = table.shown.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis=1)
    text = style.to_latex(hrules=True, caption=title, position_float="centering")
    text = text.replace("< ", "$<$ ")  # text fonts print a different sign for it
    begin, end = r"\begin{tabular}", r"\end{tabular}"
    return f"% {table.note}\n{PREAMBLE}" + text.replace(begin, FITTED + begin).replace(end, end + "}")


def markdown(frame: pd.DataFrame) -> str:
    """Return a Markdown table of a frame of text."""
    rows = [list(frame.columns), ["---"] * frame.shape[1], *frame.to_numpy().tolist()]
    return "".join("| " + " | ".join(str(x).replace("|", "\\|") for x in row) + " |\n" for row in rows)
