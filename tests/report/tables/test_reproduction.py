"""The table of the published numbers, as worded for people."""

import pytest

from depthbench.analysis.reference import reproduction
from depthbench.report import write_report
from depthbench.report.tables.reproduction import reproduction_table
from depthbench.store.results import load_results
from tests.report.conftest import store_study, study_of


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Results on data with the name of the paper's: a diverged run, and a depth with one seed."""
    endings = {("plain", 110, 1): ("diverged", 60), ("resnet", 56, 1): None}
    study = study_of(depths=(56, 110), seeds=(0, 1), data={"name": "cifar10"})
    return store_study(tmp_path_factory.mktemp("named") / "made-up", study, endings)


@pytest.fixture(scope="module")
def table(stored):
    return reproduction_table(reproduction(load_results(stored).runs))


def row(table, network, depth, source):
    shown = table.shown
    matching = shown[
        (shown["network"] == network) & (shown["depth"] == depth) & shown["source"].str.startswith(source)
    ]
    return matching.iloc[0].to_dict()


def test_numbers_have_their_spread_protocol_and_source(table):
    shown_row = row(table, "resnet", "110", "He2015")
    assert (shown_row["ours (%)"], shown_row["n"]) == (
        "-5.00 ± 0.28",
        "2",
    )  # made up: 5.2 less than at depth 56
    assert (shown_row["published (%)"], shown_row["ours - published"]) == ("6.61 ± 0.16", "-11.61")
    assert shown_row["within the spread"] == "no (2 sd)"
    assert shown_row["same recipe"] == "no"
    assert shown_row["our recipe differs in"] == (
        "steps 200, not 64,000; flip False, not True; normalisation channel, not pixel"
    )
    assert shown_row["our protocol"] == "mean of the last evaluation, 200 steps, batch 128, sgd, lr 0.1"
    assert shown_row["published protocol"] == "mean of 5 runs; best 6.43"
    assert shown_row["source"] == "He2015 (arXiv:1512.03385), Table 6"


def test_a_bound_and_a_diverged_run_are_stated(table):
    shown_row = row(table, "plain", "110", "He2015")
    assert shown_row["published (%)"] == "above 60.00"
    assert shown_row["ours (%)"].endswith("(1 diverged)")
    assert (shown_row["ours - published"], shown_row["within the spread"]) == ("", "yes (lower bound)")


def test_one_seed_and_one_published_number_have_no_spread(table):
    shown_row = row(table, "resnet", "56", "github:akamaster")
    assert (shown_row["ours (%)"], shown_row["n"]) == (
        "-0.30",
        "1",
    )  # the best one; the source reports its best
    assert (shown_row["within the spread"], shown_row["same recipe"]) == ("no spread", "unknown")
    assert shown_row["published protocol"] == "best epoch on the test set"


def test_results_on_other_data_are_not_compared(results):
    table = reproduction_table(reproduction(results.runs))
    assert table.shown.empty
    assert table.nothing == "No published number is known for these networks and data."


def test_the_report_has_the_table(stored, tmp_path, monkeypatch):
    monkeypatch.setattr("depthbench.report.page.FIGURES", {})
    page = write_report(stored, tmp_path / "out")
    assert "Comparison with published numbers" in page.read_text(encoding="utf-8")
    assert "6.61 ± 0.16" in (tmp_path / "out" / "tables" / "reproduction.md").read_text(encoding="utf-8")


def test_results_without_a_finished_run_have_no_such_table(tmp_path, monkeypatch):
    monkeypatch.setattr("depthbench.report.page.FIGURES", {})
    study = study_of(networks=("plain",), depths=(8,), seeds=(0,))
    path = store_study(tmp_path / "made-up", study, {("plain", 8, 0): ("interrupted", 40)})
    assert "Comparison with published numbers" not in write_report(path).read_text(encoding="utf-8")
    assert not (path / "report" / "tables" / "reproduction.csv").exists()
