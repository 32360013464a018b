"""A sweep: each network of a study, with each value of some keys of the recipe or of the options.

`[sweep]` lists values, e.g. `lr = [0.01, 0.1]`. In the grids, a variant for each value replaces each network,
e.g. `plain-lr=0.01`. The result is a study without a sweep, so it is planned, stored and resumed like any."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

from depthbench.errors import BadInput, any_of
from depthbench.schema import each_once
from depthbench.study.grid import Grid

SECTIONS = ("recipe", "options")
SAME_FOR_ALL = ("recipe.steps", "recipe.epochs")
Values = Mapping[str, Sequence[Any]]


def expand_sweep(study: Mapping[str, Any], sweep: Values) -> dict[str, Any]:
    """Return the tables of a study whose grids name a variant for each network and combination of values.

    study: the tables without [sweep]. sweep: `values_of_sweep`. A network of the grids that an earlier sweep
    made stands for the network that it was made of."""
    variants = dict(study.get("variants", {}))
    grids = [
        {"network": Grid().network} | dict(grid) for grid in (study.get("grid", {}), *study.get("also", []))
    ]
    networks = [each_once([_swept_network(variants, name) for name in grid["network"]]) for grid in grids]
    for grid, swept in zip(grids, networks, strict=True):
        names = []
        for network in swept:
            for values in product(*sweep.values()):
                point = dict(zip(sweep, values, strict=True))
                names.append(name := name_at(network, point))
                variant = _variant(variants.get(network), network, point)
                baseline = variant.pop("baseline", None)
                known = variants.setdefault(name, variant)
                if {key: known[key] for key in known if key != "baseline"} != variant:
                    raise BadInput(
                        f"sweep: the variant {name} exists already with other values; use another value"
                    )
                if any(baseline in others for others in networks):  # its runs have these values, too
                    known["baseline"] = name_at(baseline, point)
        grid["network"] = names
    return {**study, "variants": variants, "grid": grids[0], "also": grids[1:]}


def values_of_sweep(table: Any, full_key: Callable[[str], str]) -> dict[str, list[Any]]:
    """Return the values of each swept key, e.g. {"recipe.lr": [0.01, 0.1]}.

    table: [sweep] as read. full_key: returns a key with its section. Raises BadInput for anything but lists
    of numbers, words or true and false, and for a key that cannot differ between the runs of a study."""
    if not isinstance(table, Mapping):
        raise BadInput(f"sweep = {table!r}: should be a table of lists, such as lr = [0.01, 0.1]")
    found: dict[str, list[Any]] = {}
    for key, values in _flat(table).items():
        if not isinstance(values, list) or not values:
            shown = json.dumps(values, default=str)
            raise BadInput(f"sweep.{key} = {shown}: should be a list of values in square brackets")
        wrong = [value for value in values if not isinstance(value, int | float | str)]
        if wrong:
            raise BadInput(
                f"sweep.{key}: {json.dumps(wrong[0], default=str)} should be a number, a word, true or false"
            )
        full = full_key(key)
        if full.partition(".")[0] not in SECTIONS or full in SAME_FOR_ALL:
            raise BadInput(
                f"sweep.{key}: a sweep varies keys of {any_of(SECTIONS)}, and not "
                f"{any_of(SAME_FOR_ALL)}, which all runs of a study share"
            )
        if full in found:
            raise BadInput(f"sweep.{key}: {full} is listed twice; list all values once")
        found[full] = each_once(values)
    return found


def name_at(network: str, point: Mapping[str, Any]) -> str:
    """Return the name of the variant of `network` with the values of `point`, e.g. `plain-lr=0.01`."""
    return "-".join([network, *(f"{key.partition('.')[2]}={_word(value)}" for key, value in point.items())])


def _word(value: Any) -> str:
    if isinstance(value, str):
        return re.sub(r"[^A-Za-z0-9._-]", "_", value)
    short = f"{value:g}"
    return json.dumps(value) if isinstance(value, bool) or float(short) != value else short.replace("+", "")


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return {"recipe.lr": ...} of {"recipe": {"lr": ...}}."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _swept_network(variants: Mapping[str, Any], name: Any) -> Any:
    variant = variants.get(name) if isinstance(name, str) else None
    swept = variant.get("swept") if isinstance(variant, Mapping) else None
    return swept["network"] if isinstance(swept, Mapping) and "network" in swept else name


def _variant(base: Mapping[str, Any] | None, network: str, point: Mapping[str, Any]) -> dict[str, Any]:
    """Return the table of a variant: that of `base`, if the network is one, with the values of `point`."""
    variant: dict[str, Any] = {"of": network} | dict(base or {})
    for full, value in point.items():
        section, *parts = full.split(".")
        table = variant[section] = dict(variant.get(section, {}))
        for part in parts[:-1]:
            table[part] = dict(table.get(part, {}))
            table = table[part]
        table[parts[-1]] = value
    return variant | {"swept": {"network": network, "values": dict(point)}}
