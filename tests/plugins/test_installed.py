import sys

import pytest

from depthbench.cli.lists import describe_list, origins
from depthbench.data import DATASETS
from depthbench.errors import BadInput
from depthbench.networks import NETWORKS
from depthbench.plugins.installed import _source as installed_source
from depthbench.plugins.installed import add_installed
from depthbench.probes import PROBES
from depthbench.registry import look_up
from depthbench.report.figures import FIGURES
from depthbench.study.file import load_study
from depthbench.training.optimizers import OPTIMIZERS
from tests.conftest import plugins_forgotten

NETS = """
from depthbench.plugins import DepthRule, Family

def build(depth, in_channels, num_classes, *, alpha: float = 0.5):
    return depth, alpha

DEEP = Family(build, "deep nets", depths=DepthRule(2, 0))
"""
ENTRY_POINTS = """
[depthbench.networks]
deep = deep_nets.family:DEEP
deeper = deep_nets.family:build
[depthbench.datasets]
stripes = deep_nets.data:load
[depthbench.probes]
largest = deep_nets.probes:LARGEST
[depthbench.optimizers]
slow = deep_nets.optimizers:Slow
[depthbench.figures]
my_loss = deep_nets.figures:draw
"""
MODULES = {
    "__init__": "",
    "family": NETS,
    "data": "def load(data_dir):\n    return 'stripes'\n",
    "probes": "from depthbench.plugins import Probe\nLARGEST = Probe('weight', lambda x: x.max())\n",
    "optimizers": "class Slow:\n    def __init__(self, params, lr, *, by: float = 2.0): ...\n",
    "figures": "def draw(evidence):\n    'The loss of each run.'\n",
}


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return a function that installs a package into a folder on the search path."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(entry_points=ENTRY_POINTS, name="deep-nets", version="1.2"):
        module = name.replace("-", "_")
        (tmp_path / module).mkdir(exist_ok=True)
        for part, text in MODULES.items():
            (tmp_path / module / f"{part}.py").write_text(text)
        info = tmp_path / f"{module}-{version}.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(entry_points)
        sys.path_importer_cache.clear()
        return tmp_path / module

    with plugins_forgotten():
        yield write
        for module in [name for name in sys.modules if name.partition(".")[0] in ("deep_nets", "other")]:
            del sys.modules[module]


def test_names_are_known_before_anything_is_imported(install):
    install()
    add_installed()
    for known, name in (
        (NETWORKS, "deep"),
        (DATASETS, "stripes"),
        (PROBES, "largest"),
        (OPTIMIZERS, "slow"),
        (FIGURES, "my_loss"),
    ):
        assert known[name].origin == "package deep-nets 1.2"
    assert describe_list("networks")["deep"] == "package deep-nets 1.2"  # as shell completion asks
    assert "deep_nets" not in sys.modules


def test_entries_are_imported_when_they_are_used(install):
    install()
    study = load_study(None, grid={"network": ["deep"], "depth": [4]}, options={"alpha": 1})
    family = study.family("deep")
    assert str(family.depths) == "2n+0"
    assert family(depth=4, in_channels=1, num_classes=2, **study.options_of("deep").own) == (4, 1.0)
    with pytest.raises(BadInput, match=r"deep: depth 3 is not 2n\+0"):
        load_study(None, grid={"network": ["deep"], "depth": [3]})
    assert NETWORKS["deeper"](depth=4, in_channels=1, num_classes=2) == (4, 0.5)
    assert DATASETS["stripes"](None) == "stripes"
    assert look_up(PROBES, "probe", "largest").load().of == "weight"
    assert look_up(OPTIMIZERS, "optimizer", "slow").settings["by"] == (float, 2.0)
    assert FIGURES["my_loss"].load().caption == "The loss of each run."


def test_the_list_shows_where_entries_come_from(install):
    install()
    assert describe_list("networks", imports=True)["deep"] == "deep nets; depths 2n+0"
    assert origins("networks")["deep"] == "package deep-nets 1.2"
    assert origins("networks")["plain"] == "built in"
    assert "options.alpha" not in describe_list("settings", "options")
    listed = describe_list("settings", "options", imports=True)["options.alpha"]
    assert listed == "number; default 0.5. An option of deep or deeper (plug-in)."
    assert describe_list("figures", imports=True)["my_loss"] == "My loss"


def run_id(monkeypatch):
    """Return the id of a run as a new process would."""
    for module in [name for name in sys.modules if name.partition(".")[0] == "deep_nets"]:
        del sys.modules[module]
    monkeypatch.setattr("depthbench.plugins.installed._source", installed_source.__wrapped__)
    with plugins_forgotten():
        study = load_study(None, data={"name": "digits"}, grid={"network": ["deep"], "depth": [4]})
        return next(study.resolve(1437, flips=False).runs()).run_id


def test_the_version_and_the_code_of_a_package_are_in_the_run_id(install, monkeypatch):
    package = install()
    first = run_id(monkeypatch)
    assert run_id(monkeypatch) == first
    (package / "data.py").write_text("# edited\n")
    edited = run_id(monkeypatch)
    (package.parent / "deep_nets-1.2.dist-info" / "METADATA").write_text("Name: deep-nets\nVersion: 1.3\n")
    newer = run_id(monkeypatch)
    assert len({first, edited, newer}) == 3


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("plain = deep_nets.family:build", "the name 'plain' of its network is that of a built-in network"),
        ("../x = deep_nets.family:build", "the name '../x' of its network contains '/'"),
        ("x = deep_nets", "the name 'x' of its network stands for 'deep_nets', which is not of the form"),
    ],
)
def test_an_entry_that_cannot_be_added_is_one_line_and_no_other_suffers(install, capsys, line, problem):
    install(f"[depthbench.networks]\n{line}\ngood = deep_nets.family:DEEP\n")
    built_in = NETWORKS["plain"]
    for _ in range(2):
        add_installed()
    assert NETWORKS["plain"] is built_in
    assert NETWORKS["good"].resolved().about == "deep nets"
    told = capsys.readouterr().err
    assert told.startswith(f"depthbench: package deep-nets 1.2: {problem}")
    assert told.count("\n") == 1


def test_a_probe_with_the_name_of_a_column_is_left_out(install, capsys):
    install("[depthbench.probes]\nuse = deep_nets.family:DEEP\n")
    add_installed()
    assert "use" not in PROBES
    assert "the name 'use' of its probe is that of another column" in capsys.readouterr().err


def test_two_packages_of_one_name_are_named(install, capsys):
    install(name="other", entry_points="[depthbench.networks]\ndeep = other.family:DEEP\n")
    install()
    add_installed()
    taken = capsys.readouterr().err
    assert "package deep-nets 1.2" in taken
    assert "package other 1.2" in taken


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("deep_nets.nosuch:x", "ModuleNotFoundError: No module named 'deep_nets.nosuch'"),
        ("deep_nets.family:nosuch", "AttributeError: module 'deep_nets.family' has no attribute 'nosuch'"),
        ("deep_nets.family:NUMBER", "deep_nets.family:NUMBER is an int; it should be a class or function"),
    ],
)
def test_a_broken_entry_is_one_line_when_it_is_used_or_listed(install, value, problem):
    package = install(f"[depthbench.networks]\nbroken = {value}\ngood = deep_nets.family:DEEP\n")
    (package / "family.py").write_text(NETS + "NUMBER = 3\n")
    listed = describe_list("networks", imports=True)
    assert problem in listed["broken"]
    assert "package deep-nets 1.2" in listed["broken"]
    assert listed["good"] == "deep nets; depths 2n+0"
    with pytest.raises(BadInput, match=r"network 'broken' of package deep-nets 1\.2"):
        load_study(None, grid={"network": ["broken"]})
    assert load_study(None, grid={"network": ["good"], "depth": [2]}).networks() == ["good"]


def test_a_package_with_damaged_metadata_does_not_hide_the_others(install):
    install(name="other", entry_points="[depthbench.networks]\nno equals sign\n")
    install()
    add_installed()
    assert NETWORKS["deep"].origin == "package deep-nets 1.2"
