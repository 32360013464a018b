from depthbench.analysis.verdict import judge
from depthbench.report.tables.verdicts import verdict_table
from tests.report.tables.rows import rows


def test_a_verdict_is_shown_with_every_difference(partial_results):
    verdicts = judge(partial_results.runs, partial_results.history, "train_error_eval", margin=2.0)
    table = verdict_table(verdicts)
    (row,) = rows(table, question="plain: worse when deeper", depths="8, 20")
    assert row["each seed's difference"] == "0: +6.00, 1: +6.00, 2: +87.01; 1 diverged"  # chance is 90
    assert row["verdict"] == "inconclusive"
    assert (row["n"], row["mean difference (points)"]) == ("3", "+33.00")
    assert "at least 2 percentage points" in table.note
    (row,) = rows(table, question="resnet: rises less than plain", depths="8, 14")
    assert row["n"] == "2"  # plain of seed 1 failed at depth 14


def test_a_trend_is_shown_with_the_rise_of_each_seed(results):
    table = verdict_table(judge(results.runs, results.history, "train_error_eval"))
    (row,) = rows(table, question="plain: a rise over all depths")
    assert (row["depths"], row["n"], row["verdict"]) == ("8, 14, 20", "3", "present")
    assert row["each seed's difference"] == "0: +6.00, 1: +6.00, 2: +6.00"
    (row,) = rows(table, question="resnet: rises less than plain over all depths")
    assert row["each seed's difference"] == "0: +7.20, 1: +7.20, 2: +7.20"


def test_networks_at_chance_get_no_verdict(results):
    verdicts = judge(results.runs, results.history, "train_error_eval")
    verdict_of = {row["question"]: row["verdict"] for row in rows(verdict_table(verdicts, ["plain"]))}
    assert (
        verdict_of["plain: worse when deeper"] == verdict_of["resnet: rises less than plain"] == "at chance"
    )
    assert verdict_of["resnet: worse when deeper"] == "absent"
    verdict_of = {row["question"]: row["verdict"] for row in rows(verdict_table(verdicts, ["resnet"]))}
    assert verdict_of["plain: worse when deeper"] == "present"
    assert verdict_of["resnet: rises less than plain"] == "at chance"


def test_two_seeds_get_no_verdict_not_even_at_chance(results):
    few = (frame[frame["seed"] < 2] for frame in results[:2])
    table = verdict_table(judge(*few, "train_error_eval"), ["plain"])
    assert {row["verdict"] for row in rows(table)} == {"inconclusive"}
