import json
from enum import Enum
from typing import Literal

import pytest

from depthbench.errors import BadInput
from depthbench.networks import NETWORKS, Family
from depthbench.study.file import load_study, tables_of_study
from depthbench.study.keys import describe_keys, sections, settings_named
from depthbench.study.model import Study


def test_every_key_of_a_study_is_described_once():
    names = [key.name for key in describe_keys()]
    assert len(set(names)) == len(names)
    for section, table in tables_of_study().items():
        assert {f"{section}.{key}" for key in table.model_fields} <= set(names)
    assert set(Study.model_fields) - set(sections()) <= set(names)
    for key in describe_keys():
        assert key.meaning, key.name
        assert key.kind != "value", key.name
        assert "\n" not in str(key)


def test_the_type_the_allowed_values_and_the_default_come_from_the_declaration():
    keys = {key.name: (key.kind, key.default) for key in describe_keys()}
    assert keys["recipe.lr"] == ("number above 0", "0.1")
    assert keys["data.image_size"] == ("whole number at least 2 and at most 1024", "unset")
    assert keys["recipe.schedule"] == ('"constant", "cosine", "plateau" or "step"', '"step"')
    assert keys["recipe.class_weights"] == ('"balanced"', "unset")
    assert keys["recipe.milestones"] == ("list of: number above 0", "[0.5, 0.75]")
    assert keys["recipe.optimizer_settings.eps"] == ("number above 0", "1e-08, or 1e-07 for muon")
    assert keys["frontier.deepest"] == ("whole number at least 1", "1000")


def test_shown_defaults_are_accepted():
    for key in describe_keys():
        section, _, name = key.name.partition(".")
        if key.default != "unset" and section in tables_of_study() and "." not in name:
            load_study("quick", **{section: {name: json.loads(key.default)}})


def test_a_section_or_a_key_can_be_chosen():
    assert [key.name for key in describe_keys("verdict")] == ["verdict.margin", "verdict.reach"]
    assert [key.name for key in describe_keys("lr")] == ["recipe.lr"]
    assert [key.name for key in describe_keys("every")] == ["probe.every", "evaluate.every"]
    assert "name" in [key.name for key in describe_keys("study")]
    with pytest.raises(BadInput, match=r"list settings recpe: .* did you mean 'recipe'\? Sections: study"):
        describe_keys("recpe")


@pytest.mark.parametrize(
    ("option", "keys"),
    [
        ("--lr", ["lr"]),
        ("--weight-decay", ["weight_decay"]),
        ("--recipe.lr", ["recipe.lr"]),
        ("--every", ["probe.every", "evaluate.every"]),
        ("--keep-checkpoints", ["keep_checkpoints"]),
        ("--betas", ["recipe.optimizer_settings.betas"]),
        ("--colourful", []),
    ],
)
def test_options_called_like_settings(option, keys):
    assert settings_named(option) == keys


class Mode(Enum):
    FIRST = "a"
    SECOND = "b"


def test_the_values_of_an_option_of_a_plug_in_are_named(monkeypatch):
    def build(
        depth,
        in_channels,
        num_classes,
        *,
        mode: Mode = Mode.FIRST,
        kind: Literal["x", "y"] = "x",
        maybe: Mode | None = None,
    ):
        pass

    monkeypatch.setitem(NETWORKS, "mine", Family(build, source="plug-in"))
    kinds = {key.name: key.kind for key in describe_keys("options")}
    assert kinds["options.mode"] == '"a" or "b"'
    assert kinds["options.kind"] == '"x" or "y"'
    assert kinds["options.maybe"] == '"a" or "b" or "none"'
