import dataclasses
from functools import partial

import pytest
import torch

from depthbench.cli.lists import describe_list
from depthbench.data import DATASETS
from depthbench.errors import BadInput
from depthbench.networks import NETWORKS, Family
from depthbench.plugins.loading import load_plugin
from depthbench.probes import PROBES
from depthbench.report.figures import FIGURES
from depthbench.report.tables import TABLES
from depthbench.study.file import load_study, parse_setting, read_study
from depthbench.training.optimizers import OPTIMIZERS
from depthbench.training.settings import Recipe
from tests.conftest import plugins_forgotten


@pytest.fixture
def plugin(tmp_path):
    """Return a function that writes a plug-in file and returns its path. Added entries end with the test."""

    def write(text, name="mine.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    with plugins_forgotten():
        yield write


ALL_THREE = """
from __future__ import annotations
from dataclasses import dataclass
from torch import nn
from depthbench.probes.probe import Probe

@dataclass
class Options:  # a dataclass looks up its module while it is made
    width: int = 4

class Tiny(nn.Sequential):
    def __init__(self, depth, in_channels, num_classes):
        super().__init__(nn.Flatten(), nn.LazyLinear(num_classes))

NETWORKS = {"tiny": Tiny}
DATASETS = {"nothing": lambda data_dir: None}
PROBES = {"weight_max": Probe("weight", lambda weight: weight.max())}
"""


def test_a_plugin_adds_to_all_three_lists(plugin):
    load_plugin(plugin(ALL_THREE))
    network = NETWORKS["tiny"](depth=3, in_channels=1, num_classes=5)
    assert network(torch.ones(2, 1, 4, 4)).shape == (2, 5)
    assert NETWORKS["tiny"].depths.n(3) == 3
    assert DATASETS["nothing"](None) is None
    assert PROBES["weight_max"].load().measure(torch.tensor([1.0, 7.0])) == 7


def test_loading_it_twice_is_harmless(plugin):
    path = plugin(ALL_THREE)
    load_plugin(path)
    first = NETWORKS["tiny"]
    load_plugin(str(path))
    assert NETWORKS["tiny"] is first


def test_entries_keep_their_descriptions_and_depth_rules(plugin):
    load_plugin(
        plugin(
            "from depthbench.registry import Entry\n"
            "from depthbench.networks import DepthRule, Family\n"
            "NETWORKS = {'a': Family(dict, 'ours', {'x': 1}, DepthRule(2, 0)), 'b': Entry(dict, 'other')}\n"
        )
    )
    assert (NETWORKS["a"].about, str(NETWORKS["a"].depths)) == ("ours", "2n+0")
    assert isinstance(NETWORKS["b"], Family)  # it has a depth rule
    assert (NETWORKS["b"].about, str(NETWORKS["b"].depths)) == ("other", "any")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("NETWORKS = {'plain': dict}\n", "NETWORKS already has an entry 'plain'; use another name"),
        ("PROBES = {'new': dict}\nDATASETS = {'digits': dict}\n", "DATASETS already has an entry 'digits'"),
        ("NETWORKS = {'mine/v1': dict}\n", "the name 'mine/v1' in NETWORKS contains '/'; use another"),
        ("NETWORKS = {'..': dict}\n", "the name '..' in NETWORKS begins or ends with a dot"),
        ("PROBES = {'caf\\udce9': dict}\n", "the name 'caf\ufffd' in PROBES is not UTF-8; use another name"),
        ("DATASETS = {'': dict}\n", "the name '' in DATASETS is empty; use another name"),
        ("raise ValueError('caf\\udce9')\n", "ValueError: caf\ufffd"),
        (
            "PROBES = {'step': dict}\n",
            "the name 'step' in PROBES is that of another column of layers.parquet",
        ),
        ("PROBES = {'a,b': dict}\n", "the name 'a,b' in PROBES contains ','; use another name"),
        ("PROBES = {7: dict}\n", "the name 7 in PROBES is not text; use another name"),
        ("x = 1\n", "defines no dict NETWORKS, DATASETS, PROBES, OPTIMIZERS, FIGURES or TABLES; define at"),
        ("NETWORKS = ['plain']\n", "NETWORKS is a list; make it a dict, name -> network"),
        ("NETWORKS = {'a': dict, 18: dict}\n", "the name 18 in NETWORKS is not text; use another name"),
        ("NETWORKS = {'a': 3}\n", "NETWORKS['a'] is an int; it should be a class or function of (depth,"),
        (
            "import torch\nNETWORKS = {'a': torch.nn.ReLU()}\n",
            "NETWORKS['a'] is a ReLU; it should be a cl",
        ),
        ("DATASETS = {'a': (1, 2)}\n", "DATASETS['a'] is a tuple; it should be a function of a folder that"),
        ("PROBES = {'a': abs}\n", "PROBES['a'] is a builtin_function_or_method; it should be a Probe, or"),
        ("PROBES = {'../a': abs}\n", "the name '../a' in PROBES contains '/'"),
        ("OPTIMIZERS = {'a': 'adam'}\n", "OPTIMIZERS['a'] is a str; it should be a class like those of"),
        ("OPTIMIZERS = {'sgd': dict}\n", "OPTIMIZERS already has an entry 'sgd'"),
        ("FIGURES = {'a': None}\n", "FIGURES['a'] is a NoneType; it should be a function of the evidence"),
        (
            "from depthbench.plugins import Entry\nNETWORKS = {'a': Entry('nets.Net')}\n",
            "NETWORKS['a'] is an entry for 'nets.Net'; it should be",
        ),
        ("x = 1\ndef f(:\n", "SyntaxError: invalid syntax (mine.py, line 2)"),
        ("raise SystemExit(3)\n", "SystemExit: 3"),
        ("import nosuch_module\n", "ModuleNotFoundError: No module named 'nosuch_module'"),
        ("raise ValueError('two\\nlines')\n", "ValueError: two lines"),
    ],
)
def test_a_plugin_that_cannot_be_used_adds_nothing(plugin, text, message):
    path = plugin(text)
    before = [list(known) for known in (NETWORKS, DATASETS, PROBES)]
    for _ in range(2):  # the first failure is not remembered as a success
        with pytest.raises(BadInput) as error:
            load_plugin(path)
        assert str(error.value).startswith(f"--plugin {path}: {message}")
        assert "\n" not in str(error.value)
    assert [list(known) for known in (NETWORKS, DATASETS, PROBES)] == before


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nosuch.py", "no such file"),
        ("..", "is a folder; give the path of a Python file"),
        ("mine.txt", "not a Python file"),
        ("caf\udce9.py", "caf\ufffd.py: its bytes are not UTF-8; rename the file"),
    ],
)
def test_a_file_that_is_not_a_plugin_is_refused(plugin, name, message):
    path = plugin("NETWORKS = {}", "mine.txt").with_name(name)
    with pytest.raises(BadInput, match=message):
        load_plugin(path)


def test_a_study_file_brings_its_plugin_with_it(plugin, tmp_path):
    path = plugin(ALL_THREE, "folder/mine.py")
    file = plugin('plugins = ["mine.py"]\n[grid]\nnetwork = ["tiny"]\ndepth = [1]\n', "folder/study.toml")
    study = load_study(file)
    assert study.plugins == [str(path)]
    stored = plugin(study.to_toml(), "results/study.toml")
    assert load_study(stored) == study


def test_plugins_of_a_file_and_of_an_override_come_together(plugin, monkeypatch, tmp_path):
    first, second = plugin("NETWORKS = {'one': dict}"), plugin("NETWORKS = {'two': dict}", "other.py")
    file = plugin('plugins = ["mine.py"]\n', "study.toml")
    monkeypatch.chdir(tmp_path)
    study = load_study(file, plugins=["other.py"], grid={"network": ["one", "two"]})
    assert study.plugins == [str(first), str(second)]


@pytest.mark.parametrize("plugins", ["mine.py", [1], {"a": "mine.py"}])
def test_plugins_are_a_list_of_files(plugins):
    with pytest.raises(BadInput, match=r"plugins = .*: should be a list of Python files"):
        load_study(None, plugins=plugins)


def test_the_builder_of_an_entry_may_be_any_callable():
    assert Family(partial(dict, a=1))(b=2) == {"a": 1, "b": 2}


def test_a_plugin_may_import_from_the_former_home_of_the_registry(plugin):
    load_plugin(
        plugin(
            "from depthbench.catalog import Entry, load_plugin, look_up\n"
            "NETWORKS = {'old': Entry(dict, 'as before')}\n"
        )
    )
    assert NETWORKS["old"].about == "as before"


def test_a_plugin_may_change_a_built_in_family(plugin):
    load_plugin(
        plugin(
            "from dataclasses import replace\n"
            "from depthbench.networks import NETWORKS as BUILT_IN\n"
            "resnet = BUILT_IN['resnet']\n"
            "wide = replace(resnet, about='4 times as wide', unset={**resnet.unset, 'width': 64})\n"
            "NETWORKS = {'broad_resnet': wide}\n"
        )
    )
    wide = NETWORKS["broad_resnet"]
    assert wide(depth=8).conv1.out_channels == 64
    assert dataclasses.replace(wide, source="").defaults(8)["width"] == 64


def test_a_plugin_builder_gets_only_the_options_that_the_study_changes(plugin):
    load_plugin(plugin("NETWORKS = {'mine': dict}\n"))
    study = load_study(None, grid={"network": ["mine"], "depth": [3]}, options={"norm": "none"})
    chosen = study.options_of("mine").model_dump(exclude_defaults=True)
    given = {"depth": 3, "in_channels": 1, "num_classes": 2}
    assert NETWORKS["mine"](**given, **chosen) == given | {"norm": "none"}


def test_an_edited_plugin_changes_the_run_id(plugin, tiny):
    text, ids = "NETWORKS = {'mine': dict}\n", []
    for comment in ("", "", "# edited"):
        with plugins_forgotten():
            path = plugin(text + comment)
            study = tiny(plugins=[str(path)], options={"width": None}, grid={"network": ["mine"]})
            ids.append(next(study.runs()).run_id)
    before, again, after = ids
    assert before == again != after


SCALED = """
from torch import nn

class Scaled(nn.Sequential):
    def __init__(
        self, depth, in_channels, num_classes, *, width=8, alpha0: float = 0.5, sizes: tuple[int, ...] = ()
    ):
        hidden = [nn.Linear(64 * in_channels, width), *(nn.Linear(width, width) for _ in range(depth - 2))]
        super().__init__(nn.Flatten(), *hidden, nn.Linear(width, num_classes))
        self.made_with = (width, alpha0, sizes)

NETWORKS = {"scaled": Scaled}
"""


@pytest.fixture
def scaled(plugin, tiny):
    """Return a function that makes a study of a plug-in with options of its own."""
    path = str(plugin(SCALED))

    def make(options=None, **changes):
        options = {"width": None, **(options or {})}
        return tiny(plugins=[path], options=options, grid={"network": ["scaled"]}, **changes)

    return make


def id_of(study):
    return next(study.runs()).run_id


def test_options_of_a_builder_are_in_the_run_and_reach_the_builder(scaled):
    run = next(scaled({"width": 4, "alpha0": 1, "sizes": [2, 3]}).runs())
    chosen = run.options.model_dump(exclude_defaults=True)
    assert chosen == {"width": 4, "alpha0": 1.0, "sizes": [2, 3]}
    network = NETWORKS["scaled"](depth=3, in_channels=1, num_classes=2, **chosen)
    assert network.made_with == (4, 1.0, (2, 3))


def test_only_options_that_differ_from_the_default_change_the_run_id(scaled):
    assert id_of(scaled()) == id_of(scaled({"alpha0": 0.5, "sizes": []}))
    assert id_of(scaled({"alpha0": 1})) == id_of(scaled({"alpha0": 1.0})) != id_of(scaled())
    assert scaled({"alpha0": 0.5}).options.own == {}  # so that further runs can join the study
    assert load_study(None, plugins=scaled().plugins, grid={"network": ["scaled"]}).options.own == {}


def test_variants_are_a_grid_over_the_options_of_a_builder(scaled, tmp_path):
    variants = {f"a{value}": {"of": "scaled", "options": {"alpha0": value}} for value in (0.1, 0.5)}
    study = scaled({"sizes": [1]}, variants=variants)
    study = study.model_copy(update={"grid": study.grid.model_copy(update={"network": list(variants)})})
    own = {run.network: run.options.own for run in study.runs()}
    assert own == {"a0.1": {"alpha0": 0.1, "sizes": [1]}, "a0.5": {"sizes": [1]}}
    file = tmp_path / "stored.toml"
    file.write_text(study.to_toml())
    assert [run.run_id for run in load_study(file).resolve(1437, flips=False).runs()] == [
        run.run_id for run in study.runs()
    ]


@pytest.mark.parametrize(
    ("options", "variant", "message"),
    [
        ({"alhpa0": 1}, {}, "unknown key 'options.alhpa0'; did you mean 'alpha0'?"),
        ({}, {"alhpa0": 1}, "variants.v: unknown key 'options.alhpa0'; did you mean 'alpha0'?"),
        ({"alpha0": "x"}, {}, 'options.alpha0 = "x": should be a number (an option of scaled)'),
        ({}, {"alpha0": "x"}, 'options.alpha0 = "x": should be a number (an option of v)'),
    ],
)
def test_wrong_options_of_a_builder_are_refused(scaled, options, variant, message):
    study = {"variants": {"v": {"of": "scaled", "options": variant}}, "options": options}
    plugins, networks = scaled().plugins, ["v"] if variant else ["scaled"]
    with pytest.raises(BadInput) as error:
        load_study(None, **study, plugins=plugins, grid={"network": networks, "depth": [3]})
    assert message in str(error.value)


def test_a_network_without_the_option_refuses_it_by_name(scaled):
    study = {"plugins": scaled().plugins, "options": {"alpha0": 1}}
    with pytest.raises(BadInput, match=r"options.alpha0: plain has no such option; .*ptions of plain: "):
        load_study(None, **study, grid={"network": ["scaled", "plain"], "depth": [8]})


BARE = """
class Bare(nn.Sequential):
    def __init__(self, depth, in_channels, num_classes, *, width=8):
        super().__init__(nn.Flatten(), nn.Linear(64 * in_channels, num_classes))

NETWORKS["bare"] = Bare
"""


def test_only_the_options_that_a_builder_takes_are_listed(plugin):
    study = {"plugins": [str(plugin(SCALED + BARE))], "options": {"alpha0": 1}}
    with pytest.raises(BadInput, match=r"options.alpha0: bare has no such option; options of bare: width$"):
        load_study(None, **study, grid={"network": ["scaled", "bare"], "depth": [8]})


def test_a_family_may_restrict_the_options_of_its_builder(plugin):
    entry = "NETWORKS = {'scaled': Family(Scaled, takes=frozenset({'alpha0'}), options={'sizes': (9,)})}\n"
    path = str(plugin(f"{SCALED}\nfrom depthbench.plugins import Family\n{entry}"))
    grid = {"network": ["scaled"], "depth": [3]}
    study = load_study(None, plugins=[path], grid=grid, options={"alpha0": 1})
    assert study.options_of("scaled").own == {"alpha0": 1.0}
    for option in ("sizes", "width"):
        with pytest.raises(BadInput, match=option):
            load_study(None, plugins=[path], grid=grid, options={option: [3] if option == "sizes" else 3})


def test_settings_list_the_options_of_loaded_plugins(plugin):
    load_plugin(plugin(SCALED))
    described = describe_list("settings", "alpha0")
    assert described == {"options.alpha0": "number; default 0.5. An option of scaled (plug-in)."}
    assert parse_setting("alpha0=0.1") == {"options": {"alpha0": 0.1}}


def test_none_is_a_setting_of_an_optimizer_that_allows_it(plugin):
    load_plugin(
        plugin(
            "import torch\n"
            "class Clipped(torch.optim.SGD):\n"
            "    def __init__(self, params, lr, *, clip: float | None = 1.0, by: float = 2.0): ...\n"
            "OPTIMIZERS = {'clipped': Clipped}\n"
        )
    )
    recipe = Recipe(optimizer="clipped", optimizer_settings={"clip": "none"})
    assert recipe.optimizer_settings == {"clip": "none"}  # as a study file stores it
    assert OPTIMIZERS["clipped"].keywords(recipe) == {"clip": None, "by": 2.0}
    assert OPTIMIZERS["clipped"].keywords(Recipe(optimizer="clipped"))["clip"] == 1.0
    with pytest.raises(ValueError, match=r"optimizer_settings.by = none: should be a number"):
        Recipe(optimizer="clipped", optimizer_settings={"by": "none"})
    described = describe_list("settings", "clip")["recipe.optimizer_settings.clip"]
    assert described.startswith('number or "none"; default 1.0.')


def test_optimizers_figures_and_tables_join_the_lists(plugin):
    load_plugin(
        plugin(
            "import torch\n"
            "class Slow(torch.optim.SGD):\n"
            "    'SGD at half speed.'\n"
            "    def __init__(self, params, lr, momentum=0.0, *, by: float = 2.0, betas=(0.9, 1.0)):\n"
            "        super().__init__(params, lr / by, momentum)\n"
            "def my_loss(evidence):\n"
            "    'The loss\\n    of each run.\\n\\n    More.'\n"
            "OPTIMIZERS = {'slow': Slow}\n"
            "FIGURES = {'my_loss': my_loss}\n"
            "TABLES = {'my_table': my_loss}\n"
        )
    )
    assert OPTIMIZERS["slow"].about == "SGD at half speed"
    recipe = Recipe(optimizer="slow", lr=0.1, momentum=0.5, optimizer_settings={"by": 4})
    keywords = OPTIMIZERS["slow"].keywords(recipe)
    assert keywords == {"momentum": 0.5, "by": 4.0, "betas": (0.9, 1.0)}
    made = OPTIMIZERS["slow"]([torch.nn.Parameter(torch.ones(1))], 0.1, **keywords)
    assert made.param_groups[0]["lr"] == 0.025
    with pytest.raises(ValueError, match=r"optimizer_settings.bi: no such setting; did you mean 'by'"):
        Recipe(optimizer="slow", optimizer_settings={"bi": 4})
    figure = FIGURES["my_loss"].load()
    assert (figure.title, figure.caption) == ("My loss", "The loss of each run.")
    assert TABLES["my_table"].load().title == "My table"


def test_a_plugin_may_import_a_list_that_it_does_not_extend(plugin):
    load_plugin(plugin("from depthbench.data import DATASETS\nNETWORKS = {'mine': dict}\n"))
    assert "mine" in NETWORKS


def test_a_search_takes_options_of_its_networks_alone(scaled):
    overrides = {"plugins": scaled().plugins, "options": {"alpha0": 1}, "grid": {"seed": [4]}}
    variants = {"small": {"of": "scaled", "options": {"alpha0": 0.1}}}
    study = read_study("quick", overrides | {"variants": variants}, searched=["scaled", "small"])
    assert [(run.network, run.depth, run.seed) for run in study.resolve(1437, flips=False).runs()] == [
        ("scaled", 1, 4),
        ("small", 1, 4),
    ]
    with pytest.raises(BadInput, match="no network is called 'scaledd'; did you mean 'scaled'"):
        read_study("quick", overrides, searched=["scaledd"])
    (run,) = read_study("quick", {"grid": {"seed": [0]}}, searched=["resnet_imagenet"]).grid.cells()
    assert run == (18, "resnet_imagenet", 0)


def test_a_plugin_that_changes_settings_of_torch_is_refused(plugin):
    path = plugin("import torch\ntorch.set_default_dtype(torch.float64)\nNETWORKS = {}\n")
    with pytest.raises(BadInput, match=r"mine.py: it changes torch's default dtype from float32 to float64"):
        load_plugin(path)
    assert torch.get_default_dtype() == torch.float32


def test_a_plugin_that_seeds_torch_and_sets_threads_changes_nothing_else(plugin):
    before = torch.random.get_rng_state(), torch.get_num_threads()
    load_plugin(plugin("import torch\ntorch.manual_seed(3)\ntorch.set_num_threads(7)\nNETWORKS = {}\n"))
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert torch.get_num_threads() == before[1]
