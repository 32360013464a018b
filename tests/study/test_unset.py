import pytest

from depthbench.errors import BadInput
from depthbench.networks import NETWORKS
from depthbench.networks.family import Family
from depthbench.study.file import load_study, parse_setting
from depthbench.study.model import Study

BASE = """
may_diverge = ["plain"]
[data]
name = "digits"
val_fraction = 0.1
[options]
width = 4
[recipe]
epochs = 3
lr = 0.3
optimizer = "adamw"
[recipe.optimizer_settings]
eps = 1e-3
betas = [0.5, 0.6]
[grid]
depth = [8]
[variants.bare]
of = "plain"
options = { norm = "none", width = 8 }
"""


@pytest.fixture
def base(tmp_path):
    (tmp_path / "base.toml").write_text(BASE)
    return tmp_path / "base.toml"


def test_a_study_that_extends_another_resets_keys_to_their_defaults(base):
    own = base.with_name("own.toml")
    own.write_text(
        """
extends = "base.toml"
may_diverge = "unset"
[data]
val_fraction = "unset"
[options]
width = "unset"
[recipe]
lr = "unset"
[recipe.optimizer_settings]
eps = "unset"
[variants.bare.options]
width = "unset"
"""
    )
    study, default = load_study(own), Study()
    assert study.may_diverge == default.may_diverge
    assert study.data.val_fraction is default.data.val_fraction
    assert study.options.width is None
    assert study.recipe.lr == default.recipe.lr
    assert study.recipe.epochs == 3
    assert study.recipe.optimizer_settings == {"betas": [0.5, 0.6]}
    assert study.variants["bare"].options.model_fields_set == {"norm"}
    assert load_study(own, recipe={"lr": 0.2}).recipe.lr == 0.2
    assert load_study(own).to_toml() == study.to_toml()


def test_set_resets_keys_and_whole_sections(base):
    assert load_study(base, **parse_setting("lr=unset")).recipe.lr == Study().recipe.lr
    assert load_study(base, **parse_setting("recipe=unset")).recipe == Study().recipe
    assert load_study(base, **parse_setting("recipe.optimizer_settings=unset")).recipe.optimizer == "adamw"
    assert load_study(base, **parse_setting("recipe.steps=unset")).recipe.epochs == 3  # sets nothing
    assert load_study(base, **parse_setting("data.path=unset")).data.path is None


def test_options_of_a_plug_in_are_reset(base, monkeypatch):
    def build(depth, in_channels, num_classes, *, alpha: float | None = 2.0): ...

    monkeypatch.setitem(NETWORKS, "mine", Family(build, source="x"))
    grid = {"network": ["mine"]}
    mine = {"grid": grid, "options": {"width": "unset", "alpha": 0.5}}
    assert load_study(base, **mine).options.own == {"alpha": 0.5}
    file = base.with_name("mine.toml")
    file.write_text('extends = "base.toml"\ngrid = { network = ["mine"] }\noptions = { alpha = 0.5 }\n')
    assert load_study(file, options={"alpha": "unset"}).options.own == {}
    run = next(load_study(file, options={"alpha": "none"}).resolve(100, flips=False).runs())
    assert run.options.own == {"alpha": "none"}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"recipe": {"lrr": "unset"}}, "unknown key 'recipe.lrr'"),
        ({"options": {"alhpa": "unset"}}, "unknown key 'options.alhpa'"),
        ({"recipes": "unset"}, "unknown key 'recipes'"),
        ({"variants": {"bare": {"recipe": {"lrr": "unset"}}}}, "unknown key 'variants.bare.recipe.lrr'"),
        ({"recipe": {"optimizer_settings": {"betaz": "unset"}}}, "betaz"),
    ],
)
def test_unknown_keys_are_refused_also_if_unset(base, overrides, message):
    with pytest.raises(BadInput, match=message):
        load_study(base, **overrides)
