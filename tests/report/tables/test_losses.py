from depthbench.report.sentences import how_errors_are_measured
from depthbench.report.style.text import error_label
from depthbench.report.tables.losses import build
from tests.report.conftest import evidence_of
from tests.report.tables.rows import rows


def of_text(results, unit="characters"):
    """Return results whose runs predict the next token."""
    runs = results.runs.assign(predicts=f"next {unit}", train_loss_eval=1.0, test_loss=2.0)
    return results._replace(runs=runs)


def test_losses_are_in_nats_and_bits_of_the_unit(results):
    table = build(evidence_of(of_text(results)))
    row = rows(table, network="plain", depth="8", set="test")[0]
    assert row["loss, mean (nats per character)"] == "2.000"
    assert row["mean (bits per character)"] == "2.885"
    assert row["n"] == "3"
    assert "next character over n seeds" in table.note
    assert rows(build(evidence_of(of_text(results, "bytes"))))[0]["mean (bits per byte)"] == "1.443"


def test_runs_that_predict_classes_have_no_table(results):
    assert build(evidence_of(results)) is None


def test_the_report_says_what_an_error_is_a_percentage_of(results):
    text = evidence_of(of_text(results))
    assert error_label(text.predicts) == "error (% of next characters)"
    assert error_label(evidence_of(results).predicts) == "error (%)"
    sentence = how_errors_are_measured({}, text.predicts)
    assert sentence.startswith("An error is the percentage of next characters that are predicted wrongly.")
    assert sentence.endswith("all training sequences.")
