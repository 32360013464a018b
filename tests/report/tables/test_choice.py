from depthbench.analysis.choice import choose
from depthbench.report.tables.choice import choice_table


def test_the_table_marks_what_is_recommended_and_omits_unknown_columns(results, validated):
    table = choice_table(choose(validated.runs), {"seconds": ["threads"]})
    best = table.shown.iloc[-1]
    assert best["recommended"] == "overall, for its network"
    assert (
        best["lowest error for its cost in"] == "parameters (3), multiply-adds (3), peak memory (3)"
    )  # times do not compare
    assert best["validation error, mean (%)"] == "5.20"
    assert "Values of time cannot be compared: they were measured with different numbers of" in table.note
    without = choice_table(choose(results.runs), {}).shown
    assert {"recommended", "peak memory (MB)"}.isdisjoint(without)


def test_a_cost_that_only_some_runs_recorded_is_not_ranked(validated):
    runs = validated.runs.copy()
    runs.loc[runs["network"] == "plain", "peak_memory"] = float("nan")
    table = choice_table(choose(runs), {})
    assert not table.shown["lowest error for its cost in"].str.contains("peak memory").any()
    assert "Values of peak memory are not ranked, because only some runs recorded it." in table.note
