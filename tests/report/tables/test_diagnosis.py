import numpy as np

from depthbench.analysis.diagnosis import FINDINGS
from depthbench.report.tables import diagnosis
from depthbench.report.tables.diagnosis import build
from tests.report.conftest import evidence_of
from tests.report.tables.rows import rows


def test_silent_when_all_is_well(results):
    assert build(evidence_of(results)) is None


def test_every_finding_has_words():
    assert set(diagnosis.FINDINGS) == set(diagnosis.EVIDENCE) == set(FINDINGS)


def test_a_diverged_run_has_its_evidence_and_advice(partial_results):
    (row,) = rows(build(evidence_of(partial_results)))
    assert (row["network"], row["depth"], row["seeds"], row["finding"]) == ("plain", "20", "2", "diverged")
    assert row["evidence"] == "Loss infinite or not a number by step 60 of 200."
    assert row["what to try"].startswith("Lower `recipe.lr`. Warm up")


def test_zero_by_design_alone_shows_no_table(results):
    layers = results.layers.copy()
    start = (layers["step"] == 0) & (layers["layer"] == 2)
    layers.loc[start, ["grad_norm_preact", "grad_norm_weight"]] = 0.0
    assert build(evidence_of(results._replace(layers=layers))) is None
    layers.loc[(layers["step"] == 100) & (layers["layer"] == 3), "grad_norm_weight"] = np.inf
    shown = rows(build(evidence_of(results._replace(layers=layers))), network="plain", depth="8")
    assert [row["finding"] for row in shown] == ["infinite gradient", "gradient of 0 by design, no fault"]
    assert shown[0]["evidence"] == (
        "First at step 100, in 1 layer. The one nearest to the output is layer 3 (layer3)."
    )
    assert shown[1]["what to try"] == ""


def test_the_csv_holds_every_number(partial_results):
    raw = build(evidence_of(partial_results)).raw
    assert raw.loc[0, "evidence"] == '{"step": [60.0, 60.0], "steps": [200.0, 200.0]}'
    assert raw.loc[0, "finding"] == "diverged"
