import hashlib
import shutil
import sys

import pytest

from depthbench.errors import BadInput
from depthbench.networks import NETWORKS
from depthbench.plugins.loading import Plugin, load_plugin, loaded
from depthbench.plugins.neighbours import neighbours_of
from tests.conftest import plugins_forgotten

PLUGIN = """
import random
import my_layers as layers
from blocks.res import Res

def {name}(depth, in_channels, num_classes):
    from late import LATE
    return layers.VALUE, Res, LATE

NETWORKS = {{"{name}": {name}}}
"""


@pytest.fixture
def folder_of(tmp_path):
    """Return a function that writes a plug-in with neighbours whose values are the name of its folder."""

    def make(name):
        folder = tmp_path / name
        (folder / "blocks").mkdir(parents=True)
        (folder / "net.py").write_text(PLUGIN.format(name=name))
        (folder / "my_layers.py").write_text(f"from depth_of import VALUE as deep\nVALUE = deep + '{name}'\n")
        (folder / "depth_of.py").write_text("VALUE = 'deep '\n")
        (folder / "blocks" / "__init__.py").write_text("")
        (folder / "blocks" / "res.py").write_text(f"from .parts import one\nRes = one + ' {name}'\n")
        (folder / "blocks" / "parts.py").write_text("one = 'part'\n")
        (folder / "late.py").write_text(f"LATE = 'late {name}'\n")
        for unused in ("unused", "random", "torch_unused"):
            (folder / f"{unused}.py").write_text("raise ValueError('imported')\n")
        return folder / "net.py"

    with plugins_forgotten():
        yield make


def test_two_plugins_of_one_name_get_their_own_neighbours(folder_of):
    before = set(sys.modules)
    for name in ("a", "b"):
        load_plugin(folder_of(name))
    for name in ("b", "a"):
        built = NETWORKS[name](depth=1, in_channels=1, num_classes=2)
        assert built == (f"deep {name}", f"part {name}", f"late {name}")
    new = {name for name in set(sys.modules) - before if not name.startswith("depthbench_plugin_")}
    assert not new & {"my_layers", "blocks", "late", "net"}
    assert sys.modules["random"].random  # not the neighbour


def test_the_source_covers_imported_neighbours_and_no_other_file(folder_of):
    plugin = folder_of("a")
    names = [
        "blocks/__init__.py",
        "blocks/parts.py",
        "blocks/res.py",
        "depth_of.py",
        "late.py",
        "my_layers.py",
    ]
    assert sorted(neighbours_of(plugin)) == names
    before = Plugin.read(plugin).source
    plugin.with_name("unused.py").write_text("# edited")
    assert Plugin.read(plugin).source == before
    plugin.with_name("depth_of.py").write_text("VALUE = 'deeper '\n")
    assert Plugin.read(plugin).source != before


def test_the_source_without_neighbours_is_that_of_the_file_and_the_place_does_not_matter(folder_of, tmp_path):
    alone = tmp_path / "alone.py"
    alone.write_text("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import other\nNETWORKS = {}\n")
    (tmp_path / "other.py").write_text("")
    assert Plugin.read(alone).source == hashlib.sha256(alone.read_bytes()).hexdigest()
    plugin = folder_of("a")
    elsewhere = shutil.copytree(plugin.parent, tmp_path / "elsewhere") / "net.py"
    assert Plugin.read(elsewhere).source == Plugin.read(plugin).source


def test_a_copy_with_the_same_content_is_the_same_plugin(folder_of, tmp_path):
    plugin = folder_of("a")
    load_plugin(plugin)
    copy = Plugin.read(plugin).write(tmp_path / "copy")
    load_plugin(copy)  # not a clash of names
    assert loaded(copy) is loaded(plugin)
    assert not list(plugin.parent.glob("**/__pycache__"))


def test_a_neighbour_that_changes_is_noticed(folder_of):
    plugin = folder_of("a")
    load_plugin(plugin)
    plugin.with_name("late.py").write_text("LATE = 3\n")
    with pytest.raises(BadInput, match="it has changed since it was loaded; restart Python"):
        load_plugin(plugin)


def test_a_file_that_is_nested_too_deeply_is_read(tmp_path):
    (tmp_path / "net.py").write_text("import other\nx = " + "+".join(["1"] * 3000) + "\n")
    (tmp_path / "other.py").write_text("x = " + "-" * 100_000 + "1\n")
    assert list(neighbours_of(tmp_path / "net.py")) in (["other.py"], [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("raise ValueError('no')\n", "ValueError: no"),
        ("from nosuch import x\n", "ModuleNotFoundError: No module named 'nosuch'"),
        ("def f(:\n", r"SyntaxError: invalid syntax \(my_layers.py, line 1\)"),
        ("import blocks.nosuch\n", "ModuleNotFoundError: No module named 'blocks.nosuch'"),
    ],
)
def test_a_broken_neighbour_is_one_line_and_can_be_fixed(folder_of, text, message):
    plugin = folder_of("a")
    good = plugin.with_name("my_layers.py").read_text()
    plugin.with_name("my_layers.py").write_text(text)
    with pytest.raises(BadInput, match=f"--plugin {plugin}: {message}"):
        load_plugin(plugin)
    plugin.with_name("my_layers.py").write_text(good)
    load_plugin(plugin)
    assert "a" in NETWORKS


def test_relative_imports_and_packages_without_init_are_neighbours(tmp_path):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "one.py").write_text("ONE = dict\n")
    (tmp_path / "two.py").write_text("TWO = dict\n")
    plugin = tmp_path / "net.py"
    plugin.write_text("from . import two\nfrom parts.one import ONE\nNETWORKS = {'n1': ONE, 'n2': two.TWO}\n")
    assert sorted(neighbours_of(plugin)) == ["parts/one.py", "two.py"]
    with plugins_forgotten():
        load_plugin(plugin)
        assert NETWORKS["n1"].target is NETWORKS["n2"].target is dict


def write_plugin(folder, name, imported="helper"):
    """Write a plug-in whose builder returns the V of the neighbour `helper`."""
    plugin = folder / f"{name}.py"
    line = {"helper": "import helper", "relative": "from . import helper"}[imported]
    plugin.write_text(f"{line}\ndef build(depth, in_channels, num_classes): return helper.V\n")
    plugin.write_text(plugin.read_text() + f"NETWORKS = {{{name!r}: build}}\n")
    return plugin


@pytest.mark.parametrize("imported", ["helper", "relative"])
def test_a_plugin_never_runs_a_neighbour_that_another_one_loaded_before_an_edit(tmp_path, imported):
    helper = tmp_path / "helper.py"
    helper.write_text("V = 1\n")
    with plugins_forgotten():
        load_plugin(write_plugin(tmp_path, "one", imported))
        second = write_plugin(tmp_path, "two", imported)
        helper.write_text("V = 2\n")
        line = rf"^--plugin {second}: helper.py has changed since it was loaded; start a new process$"
        with pytest.raises(BadInput, match=line):
            load_plugin(second)
        assert "two" not in NETWORKS
        helper.write_text("V = 1\n")
        load_plugin(second)
        assert NETWORKS["two"](depth=1, in_channels=1, num_classes=2) == 1


def test_a_neighbour_that_is_imported_after_an_edit_is_refused(folder_of):
    plugin = folder_of("a")
    load_plugin(plugin)
    plugin.with_name("late.py").write_text("LATE = 3\n")
    with pytest.raises(BadInput, match=r"^late.py has changed since it was loaded; start a new process$"):
        NETWORKS["a"](depth=1, in_channels=1, num_classes=2)


@pytest.mark.parametrize("imported", ["helper", "relative"])
def test_the_neighbours_of_a_refused_plugin_are_loaded_again(tmp_path, imported):
    helper = tmp_path / "helper.py"
    helper.write_text("V = 1\n")
    with plugins_forgotten():
        (tmp_path / "first.py").write_text("NETWORKS = {'first': dict}\n")
        load_plugin(tmp_path / "first.py")  # so that the package of the folder stays
        plugin = write_plugin(tmp_path, "net", imported)
        good = plugin.read_text()
        plugin.write_text(good + "NETWORKS = {18: build}\n")
        with pytest.raises(BadInput, match="the name 18 in NETWORKS is not text"):
            load_plugin(plugin)
        plugin.write_text(good)
        helper.write_text("V = 2\n")
        load_plugin(plugin)
        assert NETWORKS["net"](depth=1, in_channels=1, num_classes=2) == 2


def test_two_plugins_whose_names_differ_in_a_dot_are_two(tmp_path):
    for stem, name in (("block.v1", "dotted"), ("block_v1", "plain-name")):
        (tmp_path / f"{stem}.py").write_text(f"NETWORKS = {{{name!r}: dict}}\n")
    with plugins_forgotten():
        load_plugin(tmp_path / "block.v1.py")
        load_plugin(tmp_path / "block_v1.py")
        assert NETWORKS["dotted"].origin.endswith("block.v1.py")
        assert NETWORKS["plain-name"].origin.endswith("block_v1.py")
