import pickle
import shutil

from depthbench.report.evidence import Evidence
from tests.report.conftest import evidence_of


def test_an_analysis_runs_once(results):
    evidence = evidence_of(results)
    assert evidence.summary is evidence.summary


def test_a_process_that_draws_gets_the_results_without_the_analyses(whole):
    evidence = Evidence.load(whole)
    assert len(evidence.summary)
    copy = pickle.loads(pickle.dumps(evidence))
    assert "summary" not in vars(copy)
    assert copy.summary.equals(evidence.summary)


def test_a_process_that_draws_does_not_repeat_messages(whole, tmp_path, capsys):
    path = shutil.copytree(whole, tmp_path / "made-up")
    evidence = Evidence.load(path)
    (path / "runs" / evidence.runs["run_id"].iloc[0] / "predictions.parquet").write_bytes(b"broken")
    copy = pickle.loads(pickle.dumps(evidence))
    assert copy.predictions.empty
    assert capsys.readouterr().err == ""
    assert evidence.predictions.empty
    assert "predictions.parquet is damaged" in capsys.readouterr().err


def test_tables_that_no_run_stored_are_empty(whole):
    evidence = Evidence.load(whole)
    assert evidence.predictions.empty
    assert evidence.corrupted_errors.empty
