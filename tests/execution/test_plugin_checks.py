import sys

import pytest

from depthbench.errors import BadInput
from depthbench.execution import plugin_checks
from depthbench.execution.plan import make_plan
from depthbench.execution.plugin_checks import check_plugin
from depthbench.execution.settings import Execution
from depthbench.networks import NETWORKS, Family
from depthbench.plugins.loading import load_plugin
from tests.conftest import plugins_forgotten
from tests.networks.test_check import TUPLE, after, fixed, seeded, stack


@pytest.fixture(autouse=True)
def nothing_is_checked_yet(monkeypatch):
    monkeypatch.setattr(plugin_checks, "_checked", set())


@pytest.fixture
def plan(tiny, tmp_path, monkeypatch):
    """Return the plan of a study of one network, which is a builder of a plug-in."""
    monkeypatch.setattr("depthbench.execution.plan.check_importable", lambda study: None)

    def make(builder, executes=True, **study):
        monkeypatch.setitem(NETWORKS, "mine", Family(builder))
        grid = {"network": ["mine"], "depth": [3]} | study.pop("grid", {})
        changed = tiny(grid=grid, options={"width": None} | study.pop("options", {}), **study)
        return make_plan(changed, Execution(tmp_path, device="cpu"), executes=executes)

    return make


@pytest.mark.parametrize("executes", [True, False])
def test_a_network_that_cannot_be_trained_is_refused_before_anything_is_written(plan, tmp_path, executes):
    with pytest.raises(BadInput, match=r"network 'mine' at depth 3: .* it returns 4x5 numbers"):
        plan(lambda depth, in_channels, num_classes: stack(depth, in_channels, 5), executes)
    assert list(tmp_path.iterdir()) == []


def test_notes_of_a_network_are_given_once(plan):
    note = f"mine returns {TUPLE}"
    assert note in plan(after(lambda y, training: (y, y))).notes
    assert note not in plan(after(lambda y, training: (y, y))).notes


def test_a_default_of_ours_that_a_builder_does_not_get_is_noted(plan):
    def build(depth, in_channels, num_classes, norm="none", width=8):
        return stack(depth, in_channels, num_classes)

    assert plan(build).notes == ()
    plugin_checks._checked.clear()
    (note,) = plan(build, options={"norm": "batch"}).notes
    assert note.startswith("mine has norm = 'none': options.norm = 'batch' is the default of depthbench")


def test_a_parameter_with_the_name_of_another_option_is_noted(plan):
    def build(depth, in_channels, num_classes, order="zigzag", gate=None, width=8):
        return stack(depth, in_channels, num_classes)

    (note,) = plan(build).notes
    assert note.startswith(
        "mine has order = 'zigzag', but order is the name of a built-in option, which should be '"
    )
    assert note.endswith("; rename the parameter, so that its own values can be set")


@pytest.mark.parametrize(("options", "is_noted"), [({}, False), ({"norm": "batch"}, True)])
def test_only_options_that_a_variant_sets_are_noted(plan, options, is_noted):
    def build(depth, in_channels, num_classes, norm="none"):
        return stack(depth, in_channels, num_classes)

    variant = {"of": "mine", "options": options, "recipe": {"lr": 0.05}}
    notes = plan(build, grid={"network": ["v"]}, variants={"v": variant}).notes
    assert [note.partition(":")[0] for note in notes] == ["v has norm = 'none'"] * is_noted


def test_the_seeds_are_compared_if_there_are_several(plan):
    assert plan(seeded).notes == ()
    plugin_checks._checked.clear()
    assert any("same initial weights" in note for note in plan(seeded, grid={"seed": [0, 1]}).notes)


@pytest.mark.parametrize("study", [{"grid": {"depth": [3, 8]}}, {"frontier": {"deepest": 8}}])
def test_a_depth_without_effect_is_refused_in_studies_and_searches(plan, study):
    with pytest.raises(
        BadInput, match="give the same network: 8 weighted layers; let its builder use `depth`"
    ):
        plan(fixed, **study)
    plugin_checks._checked.clear()
    plan(fixed)  # one depth: a network that exists at one depth only


def test_depths_that_are_one_network_among_others_should_be_declared(plan):
    """A search starts at depth 1, where many builders have the network of depth 2."""
    message = r"depths 1 and 2 give the same network: 2 weighted layers; .*DepthRule\(1, 1\)\)"
    with pytest.raises(BadInput, match=message):
        plan(
            lambda depth, **others: stack(max(depth, 2), **others),
            grid={"depth": [1]},
            frontier={"deepest": 8},
        )


def test_a_problem_that_no_check_names_does_not_hide_other_networks(tmp_path, monkeypatch):
    file = tmp_path / "my_networks.py"
    file.write_text(MINE)

    def broken(subject, depth):
        if subject.name == "bad":
            sys.exit("two\nlines")
        return [], []

    monkeypatch.setattr("depthbench.networks.check.examine", broken)
    with plugins_forgotten():
        bad, good = check_plugin(file, networks=["bad", "good"], depths=[3])
    assert (bad.problem, good.problem) == ("network 'bad': SystemExit: two lines", None)


SEVERAL = """
from torch import nn

def bad(depth, in_channels, num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 5))

class Raises(nn.Module):
    def __init__(self, depth, in_channels, num_classes):
        super().__init__()
        hidden = (nn.Linear(64, 64) for _ in range(depth - 1))
        self.layers = nn.Sequential(*hidden, nn.Linear(64, num_classes))

    def forward(self, x):
        if not self.training:
            self.fail()
        return self.layers(x.flatten(1))

    def fail(self):
        raise KeyError("scale")

NETWORKS = {"bad": bad, "raises": Raises}
"""


def test_all_problems_of_all_networks_are_found_with_their_place(tmp_path):
    file = tmp_path / "my_networks.py"
    file.write_text(SEVERAL)
    with plugins_forgotten():
        bad, raises = check_plugin(file)
    shape, depth = bad.problems
    assert shape == bad.problem
    assert "network 'bad' at depth 4: in training mode, it returns 4x5 numbers" in shape
    assert depth.startswith(
        "network 'bad': depths 1, 2, 3, 4, 5, 6, 7, 8, 9, 16 and 17 give the same network"
    )
    assert raises.problems == (
        "network 'raises' at depth 4: in evaluation mode only, its forward pass raised KeyError: 'scale' "
        "(my_networks.py, line 19) for images 4x1x8x8; fix its plug-in",
    )


MINE = """
from torch import nn

def good(depth, in_channels, num_classes):
    hidden = [nn.Linear(64, 64) for _ in range(depth - 1)]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(64, num_classes))

def bad(depth, in_channels, num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 5))

NETWORKS = {"good": good, "bad": bad}
"""


def test_every_network_of_a_file_is_checked(tmp_path):
    file = tmp_path / "my_networks.py"
    file.write_text(MINE)
    with plugins_forgotten():
        good, bad = check_plugin(file)
        assert (good.name, good.depths, good.problem, good.notes) == ("good", (4, 8), None, ())
        assert "returns 4x5 numbers" in bad.problem
        (only,) = check_plugin(file, networks=["good"], depths=[3])
        assert only.depths == (3,)
        with pytest.raises(BadInput, match="no network is called 'god'; did you mean 'good'"):
            check_plugin(file, networks=["god"])
        with pytest.raises(BadInput, match="no data set is called 'digit'; did you mean 'digits'"):
            check_plugin(file, data_set="digit")


OPTIMIZER = """
import torch

class Slow(torch.optim.SGD):
    def __init__(self, params, lr=0.1, momentum=0.0):
        super().__init__(params, lr, momentum)

OPTIMIZERS = {"rprop": torch.optim.Rprop, "slow": Slow, "function": lambda params, lr: Slow(params, lr)}
"""


@pytest.fixture
def optimizers(tmp_path):
    file = tmp_path / "my_optimizers.py"
    file.write_text(OPTIMIZER)
    with plugins_forgotten():
        load_plugin(file)
        yield str(file)


@pytest.mark.parametrize(
    ("name", "recipe", "message"),
    [
        (
            "rprop",
            {"weight_decay": 0.01},
            "recipe.weight_decay = 0.01: rprop, the optimizer of plain, does not",
        ),
        ("rprop", {"momentum": 0.5}, "recipe.momentum = 0.5: rprop, .* set recipe.momentum = 0.0"),
        ("slow", {"nesterov": True}, "recipe.nesterov = true: slow, .* set recipe.nesterov = false"),
    ],
)
def test_a_value_that_an_optimizer_ignores_is_refused(optimizers, tiny, name, recipe, message):
    with pytest.raises(BadInput, match=message):
        tiny(grid={"network": ["plain"]}, recipe={"optimizer": name, **recipe})


def test_a_default_that_an_optimizer_ignores_is_0_in_its_runs_only(optimizers, tiny, tmp_path):
    grid, variants = {"network": ["plain", "v"]}, {"v": {"of": "plain", "recipe": {"optimizer": "sgd"}}}
    study = tiny(grid=grid, variants=variants, recipe={"optimizer": "slow"}, plugins=[optimizers])
    plan = make_plan(study, Execution(tmp_path, device="cpu"))
    (slow, sgd) = (run.recipe for run in plan.todo)
    assert (slow.weight_decay, slow.momentum, slow.nesterov) == (0.0, 0.9, False)
    assert (sgd.weight_decay, sgd.momentum) == (1e-4, 0.9)
    assert plan.notes == ("plain trains with recipe.weight_decay = 0, because slow takes no weight decay",)
    assert make_plan(study, Execution(tmp_path, device="cpu")).notes == ()
    again = tiny(grid={"network": ["plain"]}, recipe={"optimizer": "function", "weight_decay": 0.01})
    assert next(again.runs()).recipe.weight_decay == 0.01  # a function may take it from the groups
