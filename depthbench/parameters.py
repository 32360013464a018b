"""The options that a function or class declares: parameters with their types and defaults. No torch here."""

import contextlib
import inspect
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import ErrorDetails, PydanticSerializationError

from depthbench.errors import BadInput, any_of, nearest
from depthbench.schema import explain

STRICT = ConfigDict(strict=True, allow_inf_nan=False)
NONE = "none"
"""The value of a study file that stands for None, which TOML lacks."""
SPELLS_NONE = BeforeValidator(lambda value: None if value == NONE else value)
"""Marks a type whose values include None, which is spelled NONE."""
REQUIRED = inspect.Parameter.empty
"""The default of an option that must be set."""


@dataclass(frozen=True)
class Parameter:
    """One option of a builder."""

    kind: Any
    """Its type. Anything that pydantic accepts as one."""
    default: Any
    adapter: TypeAdapter[Any] = field(repr=False)

    def parsed(self, value: Any) -> Any:
        """Convert a value of a study file to an argument of the builder, for example a list to a tuple.

        Raises ValidationError."""
        if value == NONE and self.takes_none:
            return None
        return self.adapter.validate_json(json.dumps(value, default=str))

    def stored(self, argument: Any) -> Any:
        """Convert an argument of the builder to a value of a study file. See `parsed`."""
        if argument is None and self.takes_none:
            return NONE
        return self.adapter.dump_python(argument, mode="json", warnings=False)

    @cached_property
    def takes_none(self) -> bool:
        """Whether None is a value, and a study file spells it "none". False if the text "none" is a value."""
        return self._allows("null") and not self._allows(json.dumps(NONE))

    def _allows(self, text: str) -> bool:
        try:
            self.adapter.validate_json(text)
        except ValidationError:
            return False
        return True

    @property
    def annotation(self) -> Any:
        """The type, which also accepts NONE if None is a value."""
        return Annotated[self.kind, SPELLS_NONE] if self.takes_none else self.kind

    @cached_property
    def default_text(self) -> str | None:
        """The default as `text_of` a value, or None if it must be set."""
        if self.default is REQUIRED:
            return None
        value = self.stored(self.default)
        with contextlib.suppress(ValidationError):  # a default that its own annotation does not allow
            value = self.stored(self.parsed(value))  # 1 becomes 1.0 for a float
        return text_of(value)


def text_of(stored: Any) -> str:
    """Return the JSON text of a value of a study file. It tells true, 1 and 1.0 apart."""
    return json.dumps(stored, sort_keys=True, default=str)


@dataclass(frozen=True)
class Parameters:
    """The options of a builder, by name."""

    known: Mapping[str, Parameter] = field(default_factory=dict)

    @cached_property
    def defaults(self) -> dict[str, Any]:
        """The defaults, as values of a study file. Options that must be set are left out."""
        return {
            name: None if parameter.default is None else parameter.stored(parameter.default)
            for name, parameter in self.known.items()
            if parameter.default is not REQUIRED
        }

    def checked(self, values: Mapping[str, Any], owner: str, others: Collection[str] = ()) -> dict[str, Any]:
        """Check the values of options, and return those that differ from their defaults.

        owner: the name of the network. others: options of it that are declared elsewhere. Raises BadInput for
        an unknown option, with the nearest known one, and for a value of the wrong type."""
        checked = {}
        for name, value in values.items():
            if name not in self.known:
                known = nearest(name, {*self.known, *others}, f"options of {owner}")
                raise BadInput(f"options.{name}: {owner} has no such option; {known}")
            if value is None:  # unset
                continue
            try:
                stored = self.known[name].stored(self.known[name].parsed(value))
            except ValidationError as error:
                problem = _explain(error, f"options.{name}")
                shown = json.dumps(value, default=str)
                raise BadInput(f"options.{name} = {shown}: {problem} (an option of {owner})") from None
            if text_of(stored) != self.known[name].default_text:
                checked[name] = stored
        return checked

    def arguments(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Convert checked values to arguments of the builder. Values of other options are unchanged."""
        return {
            name: self.known[name].parsed(value) if name in self.known else value
            for name, value in values.items()
        }


def parameters_of(target: Callable[..., Any], fixed: Mapping[str, Any], given: Collection[str]) -> Parameters:
    """Return the options that a function or class declares.

    These are the parameters that can be passed by name and whose values a study file can hold. Without an
    annotation, the type is that of the default. fixed: arguments that replace defaults. given: parameters
    that are not options."""
    known = {}
    for name, parameter in _signature(target).items():
        if name in given or parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            continue
        default = fixed.get(name, parameter.default)
        kind = parameter.annotation
        if kind is parameter.empty or isinstance(kind, str):  # absent, or known only to a type checker
            kind = _type_of(default)
        if (adapter := _adapter(kind, default)) is not None:
            known[name] = Parameter(kind, default, adapter)
    return Parameters(known)


def takes_any(target: Callable[..., Any]) -> bool:
    """Return whether a function or class takes parameters of any name, as `**options`."""
    return any(parameter.kind == parameter.VAR_KEYWORD for parameter in _signature(target).values())


def _signature(target: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    for evaluates in (True, False):
        try:
            return inspect.signature(target, eval_str=evaluates).parameters
        except (ValueError, TypeError):  # a class written in C
            return {}
        except Exception:  # an annotation that cannot be evaluated
            continue
    return {}


def _type_of(default: Any) -> Any:
    """Return the type that the default of an option implies. An int also allows a float."""
    if default is None or default is REQUIRED:
        return Any
    return int | float if type(default) is int else type(default)


def _adapter(kind: Any, default: Any) -> TypeAdapter[Any] | None:
    """Return what checks an option, or None if a study file cannot hold its values, e.g. modules."""
    try:
        try:
            adapter = TypeAdapter(kind, config=STRICT)
        except PydanticUserError:  # a type that has its own pydantic config
            adapter = TypeAdapter(kind)
        adapter.json_schema()
        if default is not REQUIRED:
            json.dumps(adapter.dump_python(default, mode="json", warnings=False))
    except (PydanticUserError, PydanticSerializationError, TypeError, ValueError, NameError):
        return None
    return adapter


def _explain(error: ValidationError, key: str) -> str:
    errors = [each for each in error.errors() if each["type"] != "none_required"] or error.errors()
    missing = [each["loc"][-1] for each in errors if each["type"] == "missing"]
    if missing:
        places = [place for place in missing if isinstance(place, int)]
        return f"should have {max(places) + 1} values" if places else f"should have a key {missing[0]!r}"
    problems = dict.fromkeys(explain(each, key) for each in errors)
    position = _position(errors)
    if all(problem.startswith("should be ") for problem in problems):
        return f"should be {any_of([problem.removeprefix('should be ') for problem in problems])}{position}"
    return next(iter(problems)) + position


def _position(errors: Sequence[ErrorDetails]) -> str:
    """Return in words the position of the first wrong value in a list. "" if it is in no list."""
    places = [place for place in errors[0]["loc"] if isinstance(place, int)]
    return f" at position {places[0] + 1}" if places else ""
