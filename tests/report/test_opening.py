import json

import pytest

from depthbench.report import opening
from depthbench.report.evidence import Evidence
from depthbench.report.figures import paper_errors
from depthbench.report.tables.diagnosis import build
from tests.report.conftest import store_study, study_of


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
