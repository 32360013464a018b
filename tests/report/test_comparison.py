import json
import re
import subprocess
import sys

import pytest

from depthbench.errors import BadInput
from depthbench.report import COMPARISON_FIGURES
from depthbench.report.comparison import write_comparison
from tests.report.conftest import store_study, study_of

WRITE = """
import sys
from depthbench import write_comparison
print(write_comparison(sys.argv[1:]), "torch" in sys.modules)
"""


@pytest.fixture
def one_figure(monkeypatch):
    """Limit reports to one figure, because drawing them all takes seconds."""
    few = {"compare_errors": COMPARISON_FIGURES["compare_errors"]}
    monkeypatch.setattr("depthbench.report.comparison.COMPARISON_FIGURES", few)


@pytest.mark.slow
def test_the_page_says_what_differs_and_imports_no_torch(whole, other):
    command = [sys.executable, "-c", WRITE, str(whole), str(other)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    page = whole.parent / "comparisons" / "made-up-vs-xavier" / "index.html"
    assert printed == [str(page), "False"]
    text = page.read_text()
    assert re.findall("<li>(xavier has.*)</li>", text) == [  # of what differs, since it is what is compared
        "xavier has exactly the same errors as made-up: it is a copy, or the changed settings have no effect."
    ]
    assert "Environment of made-up" in text
    assert "Environment of xavier" in text
    same = "the same in every seed of 4 combinations of network and depth"
    assert f"Train error of xavier, compared with made-up, is {same}" in text
    table = (page.parent / "tables" / "settings.csv").read_text().splitlines()
    assert table == ["setting,made-up,xavier", "options.init,he,xavier"]


def test_another_recipe_has_a_warning(whole, tmp_path, one_figure):
    recipe = {"steps": 200, "flip": False, "lr": 0.5}
    faster = store_study(tmp_path / "lr", study_of(depths=(8,), recipe=recipe))
    text = write_comparison([whole, faster], tmp_path / "out").read_text()
    assert "lr has a different recipe, which may explain a difference (recipe.lr 0.5, not 0.1)." in text


def test_two_versions_of_a_plug_in_have_a_warning(tmp_path, one_figure):
    paths = []
    for name, code in (("one", f"{'c' * 64}+{'a' * 64}"), ("two", f"{'c' * 64}+{'b' * 64}")):
        paths.append(store_study(tmp_path / name, study_of(networks=("plain",), depths=(8,))))
        for file in paths[-1].glob("runs/*/run.json"):
            record = json.loads(file.read_text())
            record["run"]["plugin"] = code
            file.write_text(json.dumps(record))
    text = write_comparison(paths, tmp_path / "out").read_text()
    assert "two has different plug-in code in the runs of a network" in text
    assert f"plug-in.plain {'c' * 12}+{'b' * 12}, not {'c' * 12}+{'a' * 12}" in text


def test_differing_executions_are_listed(whole, tmp_path, one_figure):
    path = store_study(tmp_path / "twice", study_of(depths=(8,)))
    for file in [*path.glob("runs/*/run.json")][:-1]:
        record = json.loads(file.read_text())
        file.write_text(json.dumps(record | {"execution": {"step": "eager", "recompute": True}}))
    write_comparison([whole, path], tmp_path / "out")
    table = (tmp_path / "out" / "tables" / "settings.csv").read_text().splitlines()
    assert "execution.recompute,,True (5 runs); not recorded (1 run)" in table


def test_an_option_set_to_its_default_is_no_difference(whole, tmp_path, one_figure):
    set_ = store_study(tmp_path / "set", study_of(depths=(8,), options={"width": 16, "shortcut": "A"}))
    write_comparison([whole, set_], tmp_path / "out")
    assert (tmp_path / "out" / "tables" / "settings.csv").read_text().splitlines() == ["setting,made-up,set"]
    wide = store_study(tmp_path / "wide", study_of(depths=(8,), options={"width": 8}))
    write_comparison([whole, wide], tmp_path / "out")
    assert "options.width,,8" in (tmp_path / "out" / "tables" / "settings.csv").read_text()


def test_a_single_directory_cannot_be_compared(whole):
    with pytest.raises(BadInput, match="name another one"):
        write_comparison([whole])


def test_networks_and_studies_that_only_one_has_are_shown(whole, tmp_path, one_figure):
    """A network that one study lacks has panels, and so have two networks compared under both names."""
    alone = store_study(tmp_path / "alone", study_of(networks=("resnet",), depths=(8,), seeds=(0,)))
    page = write_comparison([whole, alone], tmp_path / "one")
    assert "1 combination of network and depth" in page.read_text()
    plain = store_study(tmp_path / "plain", study_of(networks=("plain",), depths=(8,)))
    text = write_comparison([plain, alone], tmp_path / "two").read_text()
    assert "plain / resnet" in text
    assert "resnet vs plain" in text


def test_a_report_cannot_replace_a_file(whole, other, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="is a file: name a folder"):
        write_comparison([whole, other], tmp_path / "file")


def test_differences_between_studies_of_other_images_are_not_tested(whole, tmp_path, one_figure):
    path = store_study(tmp_path / "others", study_of(depths=(8,)))
    file = path / "study.toml"
    file.write_text(re.sub('^data_hash = ".*?"', 'data_hash = "another"', file.read_text()))
    text = write_comparison([whole, path], tmp_path / "out").read_text()
    assert "others has different images from made-up, so no difference is tested." in text
    assert "others compared with made-up" not in text
    assert f"--out {tmp_path / 'out'}" in text


def test_a_study_in_which_every_run_failed_can_be_compared(whole, tmp_path):
    study = study_of(depths=(8,), seeds=(0,))
    endings = {(network, 8, 0): ("failed", 0) for network in ("plain", "resnet")}
    failed = store_study(tmp_path / "failed", study, endings)
    page = write_comparison([whole, failed], tmp_path / "page")
    text = page.read_text(encoding="utf-8")
    assert "2 failed" in text
    assert text.count("No difference can be tested") == 1
    assert "Nothing to compare" not in text
    assert "finished runs of the same seed" not in text
