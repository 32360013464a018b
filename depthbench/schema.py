"""The base class of every table of a study file, the types of its values, and what is wrong with a value."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Percent = Annotated[float, Field(gt=0, le=100)]
NotNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """A table of a study file: immutable, with known keys and strictly typed values."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


KINDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text in quotes",
}
BOUNDS = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "at most"),
}
LISTS = ("list_type", "tuple_type", "set_type", "frozen_set_type")
TABLES = ("model_type", "model_attributes_type", "dict_type")


def explain(error: Mapping[str, Any], key: str, example: list | None = None) -> str:
    """Return what is wrong with the value of `key`, from one of `ValidationError.errors()`.

    example: a valid list, if `key` needs a list."""
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    if kind in KINDS:
        return f"should be {KINDS[kind]}"
    if kind in BOUNDS:
        name, words = BOUNDS[kind]
        limit = context[name]
        return f"should be {words} {f'{limit:g}' if isinstance(limit, float) else limit}"
    if kind in TABLES:
        return f"should be a table: write its keys below [{key}]"
    if kind in LISTS:
        if example is None and isinstance(value, str):  # `--set names=[a,b]` is text without quotes
            example = [part.strip() for part in value.strip("[] ").split(",")]
        elif example is None and isinstance(value, int | float):
            example = [value]
        return "should be a list in square brackets" + (f", such as {json.dumps(example)}" if example else "")
    if kind == "too_short":
        count = context["min_length"]
        return f"should have at least {count} value{'s'[: count > 1]}"
    if kind == "too_long":
        return f"should have at most {context['max_length']} values"
    return error["msg"].removeprefix("Value error, ").replace("Input should", "should", 1)


def each_once(values: list) -> list:
    """Return `values` without duplicates, in their order."""
    return list(dict.fromkeys(values))
