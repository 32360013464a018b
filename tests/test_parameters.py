from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import pytest
from pydantic import Field

from depthbench.errors import BadInput
from depthbench.parameters import REQUIRED, parameters_of, takes_any

if TYPE_CHECKING:
    from nowhere import Unknown


class Mode(enum.Enum):
    FAST = "fast"
    SLOW = "slow"


@dataclass
class Table:
    x: int
    y: int


class Builder:
    def __init__(
        self,
        depth: int,
        alpha: float = 0.5,
        *,
        widths: tuple[int, ...] = (8, 16),
        mode: Literal["a", "b"] = "a",
        speed: Mode = Mode.FAST,
        repeats: Annotated[int, Field(ge=1)] = 2,
        clip: float | None = None,
        bias=True,
        heads=4,
        pair: tuple[int, int] = (1, 2),
        maybe: tuple[int, int] | None = None,
        table: Table | None = None,
        act: Callable = len,
        kind: type = dict,
        **others,
    ): ...


@pytest.fixture
def options():
    return parameters_of(Builder, {"repeats": 3}, given=("depth",))


def test_only_a_function_with_keywords_takes_any_parameter():
    assert takes_any(lambda depth, **options: None)
    assert not takes_any(lambda depth, *sizes, width=1: None)


def test_keyword_parameters_that_a_study_file_can_hold_are_options(options):
    assert options.defaults == {
        "alpha": 0.5,
        "widths": [8, 16],
        "mode": "a",
        "speed": "fast",
        "repeats": 3,  # fixed by the entry
        "clip": None,
        "bias": True,
        "heads": 4,
        "pair": [1, 2],
        "maybe": None,
        "table": None,
    }


def test_values_that_equal_the_default_are_left_out_and_others_are_stored_in_one_form(options):
    assert options.checked({"alpha": 0.5, "repeats": 3, "widths": [8, 16], "speed": "fast"}, "net") == {}
    assert options.checked({"alpha": 1}, "net") == {"alpha": 1.0}
    assert options.checked({"heads": 8, "clip": 2}, "net") == {"heads": 8, "clip": 2.0}
    assert options.checked({"alpha": None}, "net") == {}


def test_a_builder_gets_arguments_of_its_types(options):
    given = {"widths": [4], "speed": "slow", "heads": 8, "depth": 3}
    assert options.arguments(given) == {"widths": (4,), "speed": Mode.SLOW, "heads": 8, "depth": 3}
    assert type(options.arguments({"heads": 8})["heads"]) is int


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"alhpa": 1}, "options.alhpa: net has no such option; did you mean 'alpha'? Options of net: alpha,"),
        ({"act": "relu"}, "options.act: net has no such option"),
        ({"alpha": "x"}, 'options.alpha = "x": should be a number (an option of net)'),
        ({"alpha": float("nan")}, "options.alpha = NaN: should be a finite number"),
        ({"repeats": 0}, "options.repeats = 0: should be at least 1"),
        ({"repeats": 1.5}, "options.repeats = 1.5: should be a whole number"),
        ({"repeats": True}, "options.repeats = true: should be a whole number"),
        ({"mode": "c"}, "options.mode = \"c\": should be 'a' or 'b'"),
        ({"clip": "x"}, 'options.clip = "x": should be a number (an'),
        ({"heads": "x"}, 'options.heads = "x": should be a whole number or a number'),
        ({"bias": 1}, "options.bias = 1: should be true or false"),
        ({"widths": 4}, "options.widths = 4: should be a list in square brackets, such as [4] (an option"),
        ({"widths": [4, "x"]}, 'options.widths = [4, "x"]: should be a whole number at position 2 (an'),
        ({"pair": [3]}, "options.pair = [3]: should have 2 values (an option of net)"),
        ({"pair": []}, "options.pair = []: should have 2 values (an option of net)"),
        ({"pair": [3, 4, 5]}, "options.pair = [3, 4, 5]: should have at most 2 values (an option of net)"),
        ({"pair": [3, "x"]}, 'options.pair = [3, "x"]: should be a whole number at position 2 (an option'),
        ({"pair": 3}, "options.pair = 3: should be a list in square brackets"),
        ({"maybe": [3]}, "options.maybe = [3]: should have 2 values (an option of net)"),
        ({"table": {"x": 1}}, "options.table = {\"x\": 1}: should have a key 'y' (an option of net)"),
    ],
)
def test_other_values_are_refused_in_one_line(options, values, message):
    with pytest.raises(BadInput) as error:
        options.checked(values, "net")
    assert str(error.value).startswith(message)


def test_none_is_a_value_of_options_that_allow_it_whatever_their_default():
    def build(a: float | None = 2.0, b: float | None = None, c: str | None = "x", *, d: int | None): ...

    options = parameters_of(build, {}, given=())
    assert options.checked({"a": "none", "b": "none", "c": "none", "d": "none"}, "net") == {
        "a": "none",  # b has its default
        "c": "none",  # the text
        "d": "none",
    }
    assert [name for name, each in options.known.items() if each.takes_none] == ["a", "b", "d"]
    given = options.arguments({"a": "none", "c": "none", "d": "none"})
    assert given == {"a": None, "c": "none", "d": None}
    with pytest.raises(BadInput, match=r"options\.alpha = "):
        parameters_of(Builder, {}, given=()).checked({"alpha": "none"}, "net")


def unannotated(depth, scale=1.0, *, required, seen_by_checkers: Unknown = 2): ...


def test_types_come_from_defaults_where_annotations_do_not_help():
    options = parameters_of(unannotated, {}, given=("depth",))
    assert options.known["required"].default is REQUIRED
    assert options.defaults == {"scale": 1.0, "seen_by_checkers": 2}
    assert options.checked({"required": "anything", "seen_by_checkers": 3}, "net") == {
        "required": "anything",
        "seen_by_checkers": 3,
    }


def test_a_class_of_c_declares_nothing():
    assert parameters_of(dict, {}, given=()).known == {}


def test_only_the_same_value_of_the_same_type_is_the_default():
    def build(
        mode: int | bool = 1, rate: int | float = 1, alpha: float = 1, sizes=(1, 2), wrong: int = "x"
    ): ...

    options = parameters_of(build, {}, given=())
    same = {"mode": 1, "rate": 1, "alpha": 1, "sizes": [1, 2]}
    assert options.checked(same | {"alpha": 1.0}, "net") == options.checked(same, "net") == {}
    others = {"mode": True, "rate": 1.0, "wrong": 1}
    checked = options.checked(others, "net")
    assert list(map(repr, checked.values())) == ["True", "1.0", "1"]
    assert repr(options.arguments(checked)["mode"]) == "True"
