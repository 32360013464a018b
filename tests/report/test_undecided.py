import json

import pytest

from depthbench.errors import BadInput
from depthbench.report import opening
from depthbench.report.evidence import Evidence
from depthbench.report.undecided import keep_undecided, pilot_lines, undecided
from depthbench.store.results import read_runs
from depthbench.store.study_store import UNDECIDED
from tests.report.conftest import store_study, study_of


@pytest.fixture
def two_seeds(tmp_path):
    """Results with too few seeds for a verdict."""
    return store_study(tmp_path / "pilot", study_of(depths=(8, 20), seeds=(0, 1)))


def test_each_inconclusive_verdict_has_a_line_that_says_what_the_page_says(two_seeds):
    found = undecided(two_seeds, read_runs(two_seeds))
    first, *_ = found.lines
    assert first == (
        "plain, depth 8 to 20: inconclusive (+6.00 points, seeds +6.00 to +6.00, n = 2); about 3 seeds in "
        "all would decide it"
    )
    on_the_page = [row for row in opening.of_study(Evidence.load(two_seeds)).rows if row.note]
    assert len(found.lines) == len(on_the_page) == 3
    for line, row in zip(found.lines, on_the_page, strict=True):
        assert line.startswith(f"{row.name}, ")
        assert line.endswith(row.note)
    assert found.seeds == 3


def test_decided_verdicts_have_no_line(whole):
    assert undecided(whole, read_runs(whole)) == ([], None)
    assert pilot_lines(whole) == [f"pilot {whole}: no verdict is inconclusive"]


def test_one_depth_has_no_verdict(tmp_path):
    path = store_study(tmp_path / "one", study_of(depths=(8,)))
    assert undecided(path, read_runs(path)) == ([], None)


def test_the_outcome_is_kept_until_a_run_changes(two_seeds, monkeypatch):
    rows = read_runs(two_seeds)
    found = undecided(two_seeds, rows)
    with monkeypatch.context() as patch:
        patch.setattr("depthbench.report.undecided.keep_undecided", None)  # would raise TypeError
        assert undecided(two_seeds, rows) == found
    (two_seeds / UNDECIDED).write_text("{")
    assert undecided(two_seeds, rows) == found
    changed = [row | {"status": "failed"} if row["network"] == "plain" else row for row in rows]
    (line,) = undecided(two_seeds, changed).lines
    assert line.startswith("resnet, ")
    assert json.loads((two_seeds / UNDECIDED).read_text())["lines"] == [line]


def test_a_report_keeps_the_outcome(two_seeds, monkeypatch):
    found = keep_undecided(Evidence.load(two_seeds))
    monkeypatch.setattr("depthbench.report.undecided.keep_undecided", None)  # would raise TypeError
    assert undecided(two_seeds, read_runs(two_seeds)) == found


def test_results_that_cannot_be_written_are_analysed(two_seeds, monkeypatch):
    def refused(*args):
        raise PermissionError

    monkeypatch.setattr("depthbench.report.undecided.write_text", refused)
    assert len(undecided(two_seeds, read_runs(two_seeds)).lines) == 3


def test_a_pilot_states_the_assumption_and_the_option(two_seeds, tmp_path):
    assumption, *lines, enough = pilot_lines(two_seeds)
    assert "80 % power, assuming that the differences between depths are normal" in assumption
    assert lines == undecided(two_seeds, read_runs(two_seeds)).lines
    assert enough == "`--seeds 3` gives 3 seeds in all"
    with pytest.raises(BadInput, match="holds no results"):
        pilot_lines(tmp_path / "nothing")
