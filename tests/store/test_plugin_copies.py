import json
import shutil

import pytest
from typer.testing import CliRunner

from depthbench import load_results, load_study, merge_results, run_study, write_report
from depthbench.cli.app import app
from depthbench.errors import BadInput
from depthbench.plugins.loading import Plugin
from depthbench.report import FIGURES
from depthbench.store.plugin_copies import copies_of, read_copies, write_copies
from depthbench.store.remote import Remote, fetch
from tests.conftest import plugins_forgotten

PLUGIN = """
from torch import nn
from my_layers import layer  # </script><script>alert(1)</script>

class Net(nn.Sequential):
    def __init__(self, depth, in_channels, num_classes, *, alpha: float = 1.0, width: int = 8):
        hidden = [nn.Linear(64 * in_channels, width), *(layer(width) for _ in range(depth - 2))]
        super().__init__(nn.Flatten(), *hidden, nn.Linear(width, num_classes))

NETWORKS = {"mine": Net}
"""


@pytest.fixture(autouse=True)
def forgotten():
    with plugins_forgotten():
        yield


@pytest.fixture
def plugin(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "my_layers.py").write_text("from torch import nn\n\ndef layer(n): return nn.Linear(n, n)\n")
    (folder / "my_block.py").write_text(PLUGIN)
    return folder / "my_block.py"


@pytest.fixture
def results(plugin, tmp_path):
    """Results of a plug-in with a neighbour and an option."""
    with plugins_forgotten():  # as in another process
        study = load_study(
            "quick",
            name="small",
            plugins=[str(plugin)],
            grid={"network": ["mine"], "depth": [3], "seed": [0]},
            options={"alpha": 0.5},
            recipe={"steps": 4, "batch_size": 16},
            evaluate={"every": 4, "train_size": 40},
        )
        return run_study(study, tmp_path / "results", device="cpu", jobs=1)


def invoke(*words):
    with plugins_forgotten():
        done = CliRunner().invoke(app, [str(word) for word in words])
    return done.exception, done.output


def test_a_copy_repeats_a_study_whose_plugin_is_gone(results, plugin, tmp_path):
    (copy,) = results.glob("plugins/*/my_block.py")
    assert copy.parent.name == Plugin.read(plugin).source[:12]
    record = json.loads(next(results.glob("runs/*/run.json")).read_text())
    assert record["run"]["options"]["alpha"] == 0.5
    assert record["run"]["plugin"] == Plugin.read(copy).source
    assert load_results(results).runs["options.alpha"].tolist() == [0.5]

    shutil.rmtree(plugin.parent)
    run = ["run", results / "study.toml", "--results", results.parent, "--no-report", "--json"]
    refused, _ = invoke(*run)
    assert isinstance(refused, BadInput)
    assert f"its plug-in {plugin} does not exist; add --plugin {copy}, which these" in str(refused)
    before = (results / "study.toml").read_text()
    refused, output = invoke(*run, "--plugin", copy, "--dry-run")
    assert refused is None, output
    assert [row["status"] for row in json.loads(output[output.index("[") :])] == ["done"]

    new = shutil.copytree(copy.parent, tmp_path / "new") / "my_block.py"
    refused, output = invoke(*run, "--plugin", new)  # a colleague's path
    assert refused is None, output
    assert len(list(results.glob("runs/*"))) == 1
    assert str(new) in (results / "study.toml").read_text()
    assert (results / "study.toml").read_text() != before
    with pytest.raises(BadInput, match="does not exist; add --plugin"), plugins_forgotten():
        load_study(results / "study.toml")


def test_a_named_copy_takes_the_place_of_an_edited_plugin(results, plugin):
    (copy,) = results.glob("plugins/*/my_block.py")
    plugin.write_text(PLUGIN + "# edited\n")
    run = ["run", results / "study.toml", "--results", results.parent, "--dry-run"]
    refused, _ = invoke(*run, "--plugin", plugin)
    assert f"by another version of {plugin} (network mine): add --name" in str(refused)
    refused, output = invoke(*run, "--plugin", copy)
    assert refused is None, output


def test_the_report_shows_the_code_as_text(results, monkeypatch):
    monkeypatch.setattr("depthbench.report.page.FIGURES", {"degradation": FIGURES["degradation"]})
    page = write_report(results).read_text(encoding="utf-8")
    assert '<h3 id="plugin-1">Plug-in my_block.py</h3>' in page
    assert "Networks: mine." in page
    assert "&lt;/script&gt;&lt;script&gt;alert(1)" in page
    assert "<summary>my_layers.py</summary>" in page


def test_merged_results_have_the_copies(results, tmp_path):
    merged = merge_results([results], tmp_path / "merged")
    assert [copy.path.name for copy in read_copies(merged)] == ["my_block.py"]


def test_only_copies_as_they_were_stored_are_read(plugin, tmp_path):
    results = tmp_path / "results"
    write_copies(results, [Plugin.read(plugin)])
    (copy,) = read_copies(results)
    assert copy.files == Plugin.read(plugin).files
    assert copies_of(results / "study.toml", plugin) == [copy.path]
    before = copy.path.stat().st_mtime_ns
    write_copies(results, [Plugin.read(plugin)])
    assert copy.path.stat().st_mtime_ns == before
    neighbour = copy.path.with_name("my_layers.py")
    text = neighbour.read_text()
    for change in (
        lambda: neighbour.write_text(text + "# edited"),
        lambda: neighbour.symlink_to(plugin.with_name("my_layers.py")),
        lambda: neighbour.write_text(text + "#" * (1 << 20)),
    ):
        neighbour.unlink()
        change()
        assert read_copies(results) == []
        assert copies_of(results / "study.toml", plugin) == []


def test_copies_at_a_url_are_pushed_and_pulled(plugin, tmp_path):
    url = f"file://{tmp_path}/bucket/small"
    remote = Remote(url)
    write_copies(remote.mirror, [Plugin.read(plugin)])
    remote.push_folder("plugins")
    (stored,) = (tmp_path / "bucket" / "small" / "plugins").glob("*/my_block.py")
    assert stored.read_text() == PLUGIN
    for read in (lambda: read_copies(fetch(url)), lambda: copies_of(remote.mirror / "study.toml", plugin)):
        shutil.rmtree(remote.mirror)
        assert len(read()) == 1
