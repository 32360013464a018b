import json

import pandas as pd
import pytest

from depthbench.analysis.answers import AT_CHANCE, Answer
from depthbench.analysis.theory import measured_rates
from depthbench.report import opening, sentences
from depthbench.report.evidence import Evidence
from depthbench.report.figures import paper_errors
from depthbench.report.tables.diagnosis import build
from tests.report.conftest import evidence_of, store_study, study_of


@pytest.mark.parametrize("seeds", [(0, 1), (0, 1, 2)])
def test_twins_are_drawn_together_only_if_both_have_errors_at_the_same_depths(tmp_path, seeds):
    endings = {("plain", 14, seed): ("failed", 0) for seed in seeds if len(seeds) == 2}
    path = store_study(tmp_path / "made-up", study_of(seeds=seeds), endings)
    *_, pair = opening.of_study(Evidence.load(path)).rows
    assert pair.is_pair
    assert "nan" not in pair.spark
    assert ("twin" in pair.spark) == (len(seeds) == 3)


def test_results_that_do_not_tell_their_steps_are_judged_by_the_last_evaluation(tmp_path):
    path = store_study(tmp_path / "made-up", study_of(networks=("plain",)))
    for file in path.glob("runs/*/run.json"):
        record = json.loads(file.read_text(encoding="utf-8"))
        del record["steps"], record["step"]
        file.write_text(json.dumps(record), encoding="utf-8")
    evidence = Evidence.load(path)
    (line,) = opening.of_study(evidence).summary
    assert line.startswith("At the end of training, plain degrades: from depth 8 to 20")
    assert build(evidence) is None
    assert paper_errors.draw(evidence) is not None
    assert "unknown steps" in evidence.reproduction["protocol"].iloc[0]


def answers_of(*verdicts):
    return [
        Answer(f"n{i}", verdict, shallow=20, deep=56, n=3, effect=7.5, least=7.0, greatest=8.0, p=0.01)
        for i, verdict in enumerate(verdicts)
    ]


@pytest.mark.parametrize(
    ("verdicts", "says"),
    [
        (["present"], "n0 degrades: from depth 20 to 56 its train error rises by 7.50 percentage points (n"),
        (["inconclusive"], "it is inconclusive whether n0 degrades: from"),
        ([AT_CHANCE], "n0 is at chance at every depth, so degradation cannot be measured."),
        (
            ["present", "absent"],
            "from depth 20 to 56, n0 degrades (+7.50 points) and n1 does not (+7.50 points).",
        ),
        (
            ["absent", "absent", AT_CHANCE],
            "from depth 20 to 56, n0 (+7.50 points) and n1 (+7.50 points) do not degrade and n2 is at chance",
        ),
        (["present"] * 30, "from depth 20 to 56, all 30 networks degrade."),
        (
            ["present"] * 15 + ["absent"] * 13 + ["inconclusive", AT_CHANCE],
            "from depth 20 to 56, 15 of 30 networks degrade, 13 do not, 1 is inconclusive and 1 is at chance",
        ),
    ],
)
def test_the_summary_stays_short(verdicts, says):
    runs = pd.DataFrame({"status": ["done"], "step": [300], "steps": [300]})
    (line,) = opening.summary_sentences(answers_of(*verdicts), runs)
    assert line.startswith(f"After 300 steps, {says}")


def test_twins_of_a_network_at_chance_are_in_the_table_with_the_reason(tmp_path):
    endings = {("resnet", depth, seed): ("diverged", 60) for depth in (8, 14, 20) for seed in range(3)}
    first = opening.of_study(Evidence.load(store_study(tmp_path / "made-up", study_of(), endings)))
    rows = [(row.name, row.badge, row.note, row.is_pair) for row in first.rows]
    assert rows == [
        ("plain", "degrades", "", False),
        ("resnet against plain", "at chance", "resnet at chance at every depth", True),
        ("resnet", "at chance", "at every depth", False),
    ]
    assert "nan" not in "".join(first.summary)


def test_a_study_of_one_depth_has_neither_verdicts_nor_notes(tmp_path):
    first = opening.of_study(Evidence.load(store_study(tmp_path / "made-up", study_of(depths=(8,)))))
    assert (first.rows, first.notes) == ([], [])
    assert first.summary == [
        "No verdict is possible: it needs two depths with finished runs of the same seed."
    ]


def test_gradients_alone_are_a_list_of_networks(results):
    rates = measured_rates(results.runs, results.layers)
    one = opening.of_study(evidence_of(results, is_trained=False, rates=rates))
    assert not (one.rows)
    assert not (one.notes)
    assert not (one.points)
    assert one.chapter == "gradients"
    assert one.summary == sentences.rates(rates)
    several = pd.concat([rates.assign(network=f"n{i}") for i in range(3)])
    first = opening.of_study(evidence_of(results, is_trained=False, rates=several))
    assert first.summary == [
        "Towards the input, the gradient at initialisation vanishes in n0, n1 and n2.",
        sentences.rates(several)[0],
    ]
    assert [line.split()[0] for line in first.points] == ["n0", "n1", "n2"]
    many = pd.concat([rates.assign(network=f"n{i}") for i in range(30)])
    first = opening.of_study(evidence_of(results, is_trained=False, rates=many))
    assert first.summary == ["Towards the input, the gradient at initialisation vanishes in all 30 networks."]
    assert first.points == []
