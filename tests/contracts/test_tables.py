"""Contract of every table of a report and of a comparison."""

import importlib
import pkgutil

import pandas as pd
import pytest

from depthbench.report import tables
from depthbench.report.entries import ReportTable, Table
from depthbench.report.tables import COMPARISON_TABLES, TABLES
from depthbench.report.tables.writing import write_table

EVERY = {("study", name): entry for name, entry in TABLES.items()}
EVERY |= {("comparison", name): entry for name, entry in COMPARISON_TABLES.items()}
SUMMARISED = {
    "frontier",
    "classes",
    "robustness",
    "coordinates",
}  # several rows of the CSV are one row for people
# These do not apply to a study without such rows.
SILENT = {"causes", "deviations", "diagnosis", "last_block", "losses", "matched", "rates", "unmeasured"}
STUDIES = ("complete", "unfinished", "single", "empty")
each_table = pytest.mark.parametrize("key", EVERY, ids="-".join)


@pytest.fixture
def build(evidence_by_name):
    """Build a table from one of the made-up studies."""

    def made(key, study) -> Table | None:
        single, compared = evidence_by_name[study]
        return EVERY[key].load().build(compared if key[0] == "comparison" else single)

    return made


def test_every_table_of_the_package_is_in_a_list():
    modules = pkgutil.iter_modules(tables.__path__, f"{tables.__name__}.")
    defined = {
        id(value)
        for module in modules
        for value in vars(importlib.import_module(module.name)).values()
        if isinstance(value, ReportTable)
    }
    assert defined == {id(entry.load()) for entry in EVERY.values()}


@each_table
def test_documents_itself(build, key):
    title = EVERY[key].load().title
    assert title[0].isupper()
    note = next(table for study in STUDIES if (table := build(key, study)) is not None).note
    assert note.endswith(".")
    assert len(note) > 40


@each_table
@pytest.mark.parametrize("study", STUDIES)
def test_keeps_its_types(build, key, study):
    table = build(key, study)
    if table is None:
        assert study == "empty" or key[1] in SILENT, "only a table without rows may not apply"
        return
    assert isinstance(table.raw, pd.DataFrame)
    assert table.shown.map(lambda text: isinstance(text, str)).all(axis=None)
    assert not table.shown.map(lambda text: text in ("nan", "None", "<NA>")).any(axis=None)
    if key[1] in SUMMARISED:
        assert 0 < len(table.shown) <= len(table.raw)
    else:
        assert len(table.shown) == len(table.raw)
    assert len(table.raw) or table.nothing


@each_table
def test_the_same_results_give_the_same_files(build, key, tmp_path):
    files = []
    for folder in ("one", "two"):
        write_table("A title", build(key, "unfinished"), tmp_path / folder / "table")
        files.append([(tmp_path / folder / f"table.{end}").read_bytes() for end in ("csv", "md", "tex")])
    assert files[0] == files[1]
