from depthbench.analysis.matching import match_twins
from depthbench.report.tables.runs import runs_table
from tests.report.tables.rows import rows


def test_runs_have_last_and_best_errors_and_what_was_matched(partial_results):
    runs, history, _ = partial_results
    table = runs_table(runs, match_twins(runs, history))
    assert len(table.shown) == 17
    by_run = {row["run"].rsplit("-", 1)[0]: row for row in rows(table)}
    row = by_run["plain-8-s0"]
    assert (row["test error, final (%)"], row["test error, best (%)"]) == ("5.00", "4.50 at 180")
    assert (row["twin"], row["same parameters"], row["same initial weights"]) == ("resnet", "yes", "yes")
    assert row["same batches"] == "yes (200 updates)"
    assert by_run["resnet-20-s1"]["same batches"] == "yes (120 updates)"  # it was interrupted there
    assert by_run["plain-20-s2"]["twin"] == ""  # its twin was not started
    assert by_run["plain-20-s2"]["status"] == "diverged"
    failed = by_run["plain-14-s1"]
    assert failed["status"] == "failed: OSError: the disk | is full"
    assert failed["same initial weights"] == "unknown"
    assert failed["test error, final (%)"] == ""


def test_a_column_that_no_run_has_is_left_out(results):
    table = runs_table(results.runs, match_twins(results.runs, results.history))
    assert "test error, chosen by validation (%)" not in table.shown


def test_a_device_that_all_runs_share_is_in_the_note(results):
    def table(devices):
        return runs_table(results.runs.assign(device=devices), match_twins(results.runs, results.history))

    shared = table("cpu (A)")
    assert "device" not in shared.shown
    assert shared.note.endswith("Device of all runs: cpu (A).")
    several = table(["cpu (A)", *["cpu (B)"] * (len(results.runs) - 1)])
    assert several.shown["device"].value_counts()["cpu (A)"] == 1
    assert "Device" not in several.note
