"""The value "unset" of a study file and of --set, which resets a key to its default."""

from collections.abc import Collection, Mapping
from typing import Any, TypeGuard

from depthbench.schema import Section

UNSET = "unset"
KEPT = ("name", "plugins")  # keys outside of sections without a default


def is_unset(value: Any) -> TypeGuard[str]:
    """Return whether a value stands for the default of its key."""
    return isinstance(value, str) and value == UNSET


def without_unset(
    values: Mapping[str, Any], study: type[Section], tables: Mapping[str, Collection[str]]
) -> dict[str, Any]:
    """Return the tables of a study without the keys whose value is "unset".

    Unknown keys are kept, so that the study reports them. study: declares the keys outside of sections.
    tables: the known keys of each section; a table within a section has the key `section.key`."""
    kept = {}
    for key, value in values.items():
        if is_unset(value) and key in study.model_fields and key not in KEPT:
            continue
        if key == "variants" and isinstance(value, Mapping):
            kept[key] = {name: _known_only(each, tables, None) for name, each in value.items()}
        else:
            kept[key] = _known_only(value, tables, key)
    return kept


def _known_only(value: Any, tables: Mapping[str, Collection[str]], place: str | None) -> Any:
    """Return a table without the keys that are known and "unset". Other values are unchanged."""
    if not isinstance(value, Mapping):
        return value
    known = tables if place is None else tables.get(place, ())
    return {
        key: _known_only(each, tables, key if place is None else f"{place}.{key}")
        for key, each in value.items()
        if not (is_unset(each) and key in known)
    }
