import pandas as pd

from depthbench.analysis.frontier import Search
from depthbench.analysis.matching import match_twins
from depthbench.analysis.missing import missing_runs
from depthbench.analysis.summary import summarise
from depthbench.analysis.theory import measured_rates
from depthbench.analysis.verdict import judge
from depthbench.report.tables.all import (
    Table,
    classes_table,
    frontier_table,
    latex,
    markdown,
    missing_table,
    rates_table,
    runs_table,
    summary_table,
    verdict_table,
    write_table,
)
from tests.report.conftest import study_of


def rows(table, **where):
    shown = table.shown
    for column, value in where.items():
        shown = shown[shown[column] == value]
    return shown.to_dict("records")


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
    assert (row["n"], row["train error, 95% interval (%)"]) == ("1", "")
    assert row["runs"] == "1 done, 1 interrupted"


def test_runs_keep_last_and_best_apart_and_say_what_was_matched(partial_results):
    runs, history, _ = partial_results
    table = runs_table(runs, match_twins(runs, history))
    assert len(table.shown) == 17
    by_run = {row["run"].rsplit("-", 1)[0]: row for row in rows(table)}
    row = by_run["plain-8-s0"]
    assert (row["test error, last (%)"], row["test error, best (%)"]) == ("5.00", "4.50 at 180")
    assert (row["twin"], row["same parameters"], row["same initial weights"]) == ("resnet", "yes", "yes")
    assert row["same batches"] == "yes (200 updates)"
    assert by_run["resnet-20-s1"]["same batches"] == "yes (120 updates)"  # it was interrupted there
    assert by_run["plain-20-s2"]["twin"] == ""  # whose twin was not begun
    assert by_run["plain-20-s2"]["status"] == "diverged"
    failed = by_run["plain-14-s1"]
    assert failed["status"] == "failed: OSError: the disk | is full"
    assert failed["same initial weights"] == "unknown"
    assert failed["test error, last (%)"] == ""


def test_a_column_that_no_run_has_is_left_out(results):
    table = runs_table(results.runs, match_twins(results.runs, results.history))
    assert "test error, chosen by validation (%)" not in table.shown


def test_missing_runs_are_named_with_their_reason(partial_results):
    table = missing_table(missing_runs(study_of().grid.cells(), partial_results.runs))
    told = [(row["network"], row["status"], row["updates"]) for row in rows(table)]
    assert told == [
        ("plain", "failed: OSError: the disk | is full", "0 of 200"),
        ("resnet", "interrupted", "120 of 200"),
        ("resnet", "not begun", ""),
    ]


def test_rates_are_beside_their_prediction_formula_and_source(results):
    table = rates_table(measured_rates(results.runs, results.layers))
    (row,) = rows(table, network="plain", depth="20", stage="2")
    assert (row["measured"], row["95% interval"], row["n"]) == ("0.490", "0.490 to 0.490", "3")  # 0.7 squared
    assert (row["predicted"], row["difference (%)"]) == ("1.467", "")  # from a bound
    assert row["formula"] == "at most pi/(pi - 1)"
    assert "upper reference" in row["assumption"]
    assert "Yang et al. 2019" in row["source"]
    assert rows(table, network="resnet") == []  # a power of the depth, no rate


def test_a_rate_without_prediction_leaves_its_place_empty(results):
    runs = results.runs.assign(**{"options.activation": "tanh"})
    row = rows(rates_table(measured_rates(runs, results.layers)), network="plain", depth="20", stage="2")[0]
    assert row["measured"] == "0.490"
    assert {row[key] for key in ("predicted", "difference (%)", "formula", "source")} == {""}


def test_classes_are_told_by_their_worst_for_people_and_all_for_machines():
    keys = {"network": "plain", "depth": 8, "n": 2, "low": 40.0, "high": 90.0, "min": 50.0, "max": 80.0}
    rows = [("macro_f1", "", 70.0), ("recall", "cat", 80.0), ("recall", "dog", 60.0), ("recall", "yak", None)]
    table = classes_table(
        pd.DataFrame([keys | dict(zip(("metric", "class", "mean"), r, strict=True)) for r in rows])
    )
    (row,) = table.shown.to_dict("records")
    assert (row["macro F1, mean (%)"], row["macro F1, 95% interval (%)"]) == ("70.00", "40.00 to 90.00")
    assert (row["worst class"], row["its recall, mean (%)"]) == ("dog", "60.00")
    assert len(table.raw) == 4


def test_markdown_escapes_what_would_break_a_row():
    text = markdown(pd.DataFrame({"a": ["x | y"], "b": ["z"]}))
    assert text == "| a | b |\n| --- | --- |\n| x \\| y | z |\n"


def test_csv_holds_the_raw_numbers(tmp_path):
    raw, shown = pd.DataFrame({"error": [1.23456789]}), pd.DataFrame({"error (%)": ["1.23"]})
    write_table(Table("Errors", "A note.", raw, shown), tmp_path / "errors")
    assert (tmp_path / "errors.csv").read_text() == "error\n1.2345679\n"
    assert (tmp_path / "errors.md").read_text().startswith("# Errors\n\nA note.\n\n| error (%) |")


def test_a_verdict_is_shown_with_every_difference(partial_results):
    verdicts = judge(partial_results.runs, partial_results.history, "train_error_eval", margin=2.0)
    table = verdict_table(verdicts, "train error")
    (row,) = rows(table, question="plain: worse when deeper", depths="8, 20")
    assert row["each seed's difference"] == "0: +6.00, 1: +6.00, 2: +87.01; 1 diverged"  # chance is 90
    assert row["verdict"] == "inconclusive"
    assert (row["n"], row["mean difference (points)"]) == ("3", "+33.00")
    assert "at least 2 percentage points" in table.note
    (row,) = rows(table, question="resnet: rises less than plain", depths="8, 14")
    assert row["n"] == "2"  # plain of seed 1 failed at depth 14


def test_a_trend_is_shown_with_the_rise_of_each_seed(results):
    table = verdict_table(judge(results.runs, results.history, "train_error_eval"), "train error")
    (row,) = rows(table, question="plain: a rise over all depths")
    assert (row["depths"], row["n"], row["verdict"]) == ("8, 14, 20", "3", "present")
    assert row["each seed's difference"] == "0: +6.00, 1: +6.00, 2: +6.00"


def test_networks_at_chance_get_no_verdict(results):
    verdicts = judge(results.runs, results.history, "train_error_eval")
    found = {
        row["question"]: row["verdict"] for row in rows(verdict_table(verdicts, "train error", ["plain"]))
    }
    assert found["plain: worse when deeper"] == found["resnet: rises less than plain"] == "at chance"
    assert found["resnet: worse when deeper"] == "absent"


def test_of_two_seeds_nothing_is_judged_not_even_at_chance(results):
    few = (frame[frame["seed"] < 2] for frame in results[:2])
    table = verdict_table(judge(*few, "train_error_eval"), "train error", ["plain"])
    assert {row["verdict"] for row in rows(table)} == {"inconclusive"}


def test_a_latex_table_is_no_wider_than_the_text():
    shown = pd.DataFrame({"a": ["1"]})
    text = latex(Table("A title", "A note.", shown, shown))
    assert text.index("\\resizebox") < text.index("\\begin{tabular}") < text.index("\\end{tabular}}")


def test_latex_has_no_sign_that_text_fonts_lack():
    shown = pd.DataFrame({"p": ["< 0.0001"]})
    assert "$<$ 0.0001" in latex(Table("Verdicts", "A note.", shown, shown))


def test_the_frontier_in_numbers():
    found = pd.DataFrame(
        {"network": ["a", "a", "b"], "seed": [0, 1, 0], "trains": [20, 26, None], "fails": [26, None, 8]}
        | {"tried": [3, 3, 1]}
    ).astype({"trains": "Int64", "fails": "Int64"})
    summary = pd.DataFrame(
        {"network": ["a", "b"], "n": [2, 1], "median": [23.0, 0.0], "low": [20.0, 0.0], "high": [26.0, 0.0]}
        | {"open": [1, 0], "expected": [15.66, float("inf")]}
    )
    table = frontier_table(Search(20.0, found, summary))
    assert table.shown.to_numpy().tolist() == [
        ["a", "2", "23", "20 to 26", "0: 20, 26; 1: 26, none", "16"],
        ["b", "1", "0", "0 to 0", "0: none, 8", "any depth"],
    ]
    assert len(table.raw) == 3
    assert "below 20 %" in table.note


def test_errors_over_crops_are_shown_where_they_were_taken(results):
    runs = results.runs.assign(test_error_10crop=12.5, test_error_top5=None, test_error_top5_10crop=None)
    shown = summary_table(summarise(runs), "all").shown
    assert set(shown["test error, 10 crops, mean (%)"]) == {"12.50"}
    assert not any("top-5" in column for column in shown)
