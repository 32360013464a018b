"""The keys of a study file, described from their declarations: type, default, allowed values and meaning."""

import ast
import inspect
import json
import re
import textwrap
import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from depthbench.errors import BadInput, any_of, nearest
from depthbench.parameters import NONE, REQUIRED, SPELLS_NONE
from depthbench.registry import known_to
from depthbench.schema import BOUNDS, Section
from depthbench.study.file import homes_of, own_options, tables_of_study
from depthbench.study.model import Frontier, Study
from depthbench.training.optimizers import OPTIMIZERS

KINDS: dict[Any, str] = {
    int: "whole number",
    float: "number",
    bool: "true or false",
    str: "text",
    dict: "table",
    list: "list",
    tuple: "list",
}
UNSET = "none, it must be set"
TOP = "study"  # stands for the keys that are in no section
OTHER_SECTIONS: dict[str, type[Section]] = {"frontier": Frontier}  # that a study need not have


@dataclass(frozen=True)
class Key:
    """A key of a study file."""

    name: str
    """With its section, e.g. `recipe.lr`."""
    kind: str
    """The type and the allowed values, in words."""
    default: str
    meaning: str

    def __str__(self) -> str:
        return f"{self.kind}; default {self.default}. {self.meaning}"


def sections() -> dict[str, type[Section]]:
    """Return the sections of a study file by name. TOP has the keys outside of sections."""
    return {TOP: Study, **tables_of_study(), **OTHER_SECTIONS}


def describe_keys(what: str | None = None, *, imports: bool = False) -> list[Key]:
    """Return the keys of a section, one key such as `lr` or `recipe.lr`, or all keys.

    imports: whether to import the networks of installed packages to describe their options. Raises
    BadInput for an unknown section or key."""
    tables = sections()
    keys_of = {name: list(_keys_of(name, table)) for name, table in tables.items()}
    keys_of["options"] += _keys_of_plugins(imports)
    keys = [key for of_section in keys_of.values() for key in of_section]
    if what is None:
        return keys
    if what in tables:
        return keys_of[what]
    if found := [key for key in keys if what in (key.name, key.name.rpartition(".")[2])]:
        return found
    words = {*tables, *(key.name.rpartition(".")[2] for key in keys)}
    close = nearest(what, words, "words").partition("? ")
    hint = f"{close[0]}? " if close[1] else ""
    raise BadInput(f"list settings {what}: no such section or key; {hint}Sections: {', '.join(tables)}")


def settings_named(option: str) -> list[str]:
    """Return the keys, as --set takes them, that an option such as `--weight-decay` seems to mean."""
    word = option.lstrip("-").replace("-", "_")
    found = [key.name for key in describe_keys() if word in (key.name, key.name.rpartition(".")[2])]
    return [word] if len(found) == 1 and homes_of(word) else found


def _keys_of(name: str, table: type[Section]) -> Iterator[Key]:
    meanings = _meanings(table)
    skipped = {other for other in sections() if other != TOP} if name == TOP else set()
    for key, field in table.model_fields.items():
        if key not in skipped:
            full = key if name == TOP else f"{name}.{key}"
            kind = _with_bounds(field.annotation, field.metadata)
            yield Key(full, kind, _default(field), meanings.get(key, ""))
    if name == "recipe":
        yield from _keys_of_optimizers()


def _keys_of_optimizers() -> Iterator[Key]:
    """Yield the settings of optimisers. If the default differs between optimisers, all of them are shown."""
    of: dict[tuple[str, str, str], dict[str, list[str]]] = {}
    for name, entry in OPTIMIZERS.items():
        for key, (kind, default) in entry.settings.items():
            described = (key, _in_words(kind), entry.meanings.get(key, ""))
            of.setdefault(described, {}).setdefault(json.dumps(default), []).append(name)
    for (key, kind, meaning), defaults in of.items():
        whose = f"A setting of {any_of(name for names in defaults.values() for name in names)}"
        whole = f"{whose}: {meaning}" if meaning else f"{whose}, as in torch.optim."
        first, *others = defaults.items()
        default = first[0] + "".join(f", or {value} for {any_of(names)}" for value, names in others)
        yield Key(f"recipe.optimizer_settings.{key}", kind, default, whole)


def _keys_of_plugins(imports: bool) -> Iterator[Key]:
    """Yield the options of plug-ins and packages, with the networks that have them.

    If an option differs in type or default between networks, it has several keys."""
    for name, declared in own_options(imports=imports).items():
        of: dict[tuple[str, str], list[str]] = {}
        for network, parameter in declared.items():
            is_set = parameter.default is not REQUIRED
            default = json.dumps(parameter.stored(parameter.default)) if is_set else UNSET
            of.setdefault((_in_words(parameter.annotation), default), []).append(network)
        for (kind, default), networks in of.items():
            yield Key(f"options.{name}", kind, default, f"An option of {any_of(networks)} (plug-in).")


def _meanings(table: type[BaseModel]) -> dict[str, str]:
    """Return the docstrings below the fields of a class and of its bases."""
    found: dict[str, str] = {}
    for base in reversed(table.__mro__):
        if not issubclass(base, BaseModel) or base.__module__.startswith("pydantic"):
            continue
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(tree, ast.ClassDef)
        for line, after in zip(tree.body, tree.body[1:], strict=False):
            if (
                isinstance(line, ast.AnnAssign)
                and isinstance(line.target, ast.Name)
                and isinstance(after, ast.Expr)
                and isinstance(after.value, ast.Constant)
            ):
                found[line.target.id] = " ".join(str(after.value.value).split())
    return {key: re.sub(r" \([^()]*\w/[^()]*\)", "", text) for key, text in found.items()}  # without paths


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return UNSET
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "unset"
    return json.dumps(value.model_dump() if isinstance(value, BaseModel) else value)


def _with_bounds(annotation: Any, metadata: Iterable[Any]) -> str:
    """Return an annotation in words, with the bounds and the known names in `metadata`."""
    kind, limits = _in_words(annotation), []
    for mark in metadata:
        if (entries := known_to(mark)) is not None:
            return any_of(f'"{name}"' for name in sorted(entries))
        for name, words in BOUNDS.values():
            limit = getattr(mark, name, None)
            if limit is not None and limit < 2**32:
                limits.append(f"{words} {limit:g}")
        for inner in getattr(mark, "metadata", ()):  # of a Field
            limits += [part for part in [_with_bounds("", [inner]).strip()] if part]
    return f"{kind} {' and '.join(limits)}".strip() if limits else kind


def _in_words(annotation: Any) -> str:
    """Return a type in words. "unset" is the default of a key that may be absent, and is left out."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation == "":
        return ""
    if origin is Annotated and SPELLS_NONE in arguments[1:]:
        return any_of([_in_words(arguments[0]), json.dumps(NONE)])
    if origin is Annotated:
        return _with_bounds(arguments[0], arguments[1:])
    if origin is Literal:
        return any_of(json.dumps(getattr(value, "value", value)) for value in arguments)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return any_of(json.dumps(member.value, default=str) for member in annotation)
    if origin in (Union, types.UnionType):
        return any_of(_in_words(each) for each in arguments if each is not type(None))
    if origin in (list, tuple) and len({*arguments} - {...}) == 1:
        return f"list of: {_in_words(arguments[0])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "table"
    return KINDS.get(origin or annotation, "value")
