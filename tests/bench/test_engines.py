import json
import sys

import pandas as pd
import pytest

from depthbench.bench import BenchFailed, engines
from depthbench.bench.engines import (
    Engine,
    Timing,
    compare_engines,
    engines_on,
    measure_engines,
    write_engines,
)


def timings(**columns):
    rows = [
        Timing("local", 0, 10.0, 100.0, "a"),
        Timing("ray", 0, 12.0, 90.0, "a"),
        Timing("local", 1, 20.0, 50.0, "a"),
        Timing("ray", 1, 30.0, 60.0, "b"),
    ]
    return pd.DataFrame(rows).assign(**columns)


ENGINES = [Engine("local", "local", ((),), 4), Engine("ray", "local", ((),), 4, package="ray")]


def test_ratios_are_taken_within_a_repeat():
    (row,) = compare_engines(timings(), ENGINES).to_dict("records")
    assert row == {
        "engine": "ray",
        "compared with": "local (15.0 s)",
        "time of the study": "1.35 (1.20 to 1.50)",
        "seconds more": "+6.0",
        "images per second": "1.05 (0.90 to 1.20)",
        "same results": "no",
    }
    (row,) = compare_engines(timings(tables="a"), ENGINES).to_dict("records")
    assert row["same results"] == "yes"


def test_all_engines_take_turns_and_train_the_same_runs(monkeypatch):
    trained = []

    def train(engine, study, folder, repeat):
        trained.append((engine.name, repeat, study))
        return Timing(engine.name, repeat, 1.0, 1.0, "")

    monkeypatch.setattr(engines, "_time", train)
    progress = []
    measured = measure_engines(ENGINES, 20, 2, lambda done, what: progress.append(done), steps=3)
    assert [name for name, _, _ in trained] == ["local", "ray", "ray", "local"]
    assert len({study for _, _, study in trained}) == 1
    assert measured["repeat"].tolist() == [0, 0, 1, 1]
    assert progress == [0, 0.25, 0.5, 0.75]


def test_shards_cover_a_study_and_use_all_cores():
    by_name = {engine.name: engine for engine in engines_on(3)}
    shards = by_name["3 shards"]
    assert [command[-2:] for command in shards.commands] == [
        ("--shard", f"{number}/3") for number in (1, 2, 3)
    ]
    assert shards.seeds == by_name["local"].seeds == by_name["ray"].seeds == 6


STAND_IN = """
import shutil, sys
if "--depths" not in sys.argv or sys.argv[sys.argv.index("--depths") + 1] == "9":
    sys.exit("depthbench: depth 9 is not 6n+2")
shutil.copytree(sys.argv[1], sys.argv[sys.argv.index("--results") + 1] + "/quick")
"""
"""A command that stores a trained study at once."""


def test_a_study_is_timed_and_a_command_that_fails_stops_the_benchmark(tmp_path, trained_study):
    command = (sys.executable, "-c", STAND_IN, str(trained_study.path))
    one = Engine("local", "local", (command,), seeds=1)
    measured = measure_engines([one], 8, 1, lambda done, what: None, steps=4)
    assert measured.seconds[0] > 0
    assert measured.images_per_second[0] > 0
    assert len(measured.tables[0]) == 64
    about = {"machine": "a CPU", "cores": 1, "command": "bench", "study": "some", "environment": ENVIRONMENT}
    write_engines(tmp_path, measured, pd.DataFrame({"engine": ["ray"]}), about)
    assert "| ray |" in (tmp_path / "engines.md").read_text()
    assert json.loads((tmp_path / "engines.json").read_text()) == about
    assert pd.read_csv(tmp_path / "engines.csv").tables[0] == measured.tables[0]
    with pytest.raises(BenchFailed, match="the engine local failed: depthbench: depth 9 is not"):
        measure_engines([one], 9, 1, lambda done, what: None, steps=4)


ENVIRONMENT = {"depthbench": "0", "python": "3", "torch": "2", "commit": None}
