import re

import pytest

from depthbench.report.index import write_index
from tests.report.conftest import store_study, study_of


def test_a_study_without_runs_has_a_card_that_says_so(tmp_path):
    study = study_of(networks=("plain",), depths=(8, 20), seeds=(0,))
    store_study(tmp_path / "empty", study, {("plain", depth, 0): None for depth in (8, 20)})
    store_study(tmp_path / "whole", study)
    page = write_index(tmp_path).read_text(encoding="utf-8")
    assert "no run has any data yet" in page
    assert "2 runs: 2 done" in page


def test_a_study_without_a_report_has_the_command_that_draws_it(tmp_path, monkeypatch):
    folder = tmp_path / "in" / "all results"
    folder.mkdir(parents=True)
    store_study(folder / "renamed", study_of(networks=("plain",), depths=(8, 20), seeds=(0,)))
    monkeypatch.chdir(tmp_path)
    page = write_index(folder).read_text(encoding="utf-8")
    assert "depthbench report &#39;in/all results/renamed&#39;" in page
    assert "<h2>made-up (in renamed)</h2>" in page
    assert "A linked title opens a report" in page
    figures = folder / "renamed" / "report" / "figures"  # of a report whose page was deleted
    figures.mkdir(parents=True)
    (figures / "degradation.svg").touch()
    page = write_index(folder).read_text(encoding="utf-8")
    assert "depthbench report &#39;in/all results/renamed&#39;" in page


@pytest.mark.parametrize(
    ("files", "shown"),
    [
        (("compare_differences.svg", "compare_differences.png"), "compare_differences.svg"),
        (("compare_differences.png",), "compare_differences.png"),
        (("compare_curves.png", "compare_errors.png"), "compare_errors.png"),  # the first one drawn
        ((), ""),
    ],
)
def test_a_comparison_shows_a_figure_that_is_there(tmp_path, files, shown):
    store_study(tmp_path / "a", study_of(networks=("plain",), depths=(8, 20), seeds=(0,)))
    folder = tmp_path / "comparisons" / "a-b"
    for name in ("index.html", *(f"figures/{file}" for file in files)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    page = write_index(tmp_path).read_text(encoding="utf-8")
    assert re.findall(r'src="comparisons/a-b/figures/(\S+)"', page) == [shown] * bool(shown)
