from depthbench.analysis.summary import summarise
from depthbench.report.tables.summary import summary_table
from tests.report.tables.rows import rows


def test_summary_is_worded_with_units_and_n(partial_results):
    table = summary_table(summarise(partial_results.runs), "all training images")
    (row,) = rows(table, network="plain", depth="20")
    assert row["n"] == "3"
    assert row["test error, range (%)"] == "11.00 to 90.00"
    assert row["train error, mean (%)"] == "35.47"  # of 8, 8.4 and chance
    assert row["runs"] == "2 done, 1 diverged"


def test_summary_of_one_seed_claims_no_interval(partial_results):
    (row,) = rows(
        summary_table(summarise(partial_results.runs), "all training images"), network="resnet", depth="20"
    )
    assert row["n"] == "1"
    assert not any("95 %" in column for column in row)  # none has five seeds
    assert row["runs"] == "1 done, 1 interrupted"


def test_errors_over_crops_are_shown_where_they_were_taken(results):
    runs = results.runs.assign(test_error_10crop=12.5, test_error_top5=None, test_error_top5_10crop=None)
    shown = summary_table(summarise(runs), "all").shown
    assert set(shown["test error, 10 crops, mean (%)"]) == {"12.50"}
    assert not any("top-5" in column for column in shown)
