"""TOML + overrides -> Study: finding a study, reading it, and telling what is wrong with it in one line."""

import json
import re
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from depthbench.errors import BadInput, nearest
from depthbench.plugins import load_plugin
from depthbench.schema import Section, each_once
from depthbench.study.grid import Grids
from depthbench.study.model import FORMAT, Study, Variant


def load_study(study: str | Path | None = None, **overrides: Any) -> Study:
    """A study from a bundled name or a TOML file, with `overrides` on top.

    Overrides are sections or single keys, e.g. `load_study("quick", grid={"depth": [20]},
    recipe={"steps": 100})`. With no `study`, the recipe of He et al. 2015 on `data` is taken, and the study
    is called like the data. Of a study of several grids `grid` narrows each: seeds are those of all, and the
    other runs that it asks for are looked for in all. The plug-ins that the file and the overrides name are
    loaded; a relative path of a plug-in or of data starts from the folder of the file that names it.

    Raises BadInput for an unknown study, a syntax error (with its line), an unknown key (with the
    nearest known one), a wrong type or an impossible value."""
    values: dict[str, Any] = {}
    plugins: list[str] = []
    source = "study"
    if study is not None:
        path = find_study(str(study))
        source = f"study {path.stem}"
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise BadInput(f"{path}: not valid TOML: {error}") from None
        if not values:
            raise BadInput(
                f"{path} is empty: name a bundled study (`depthbench list studies`), or write a [grid]"
            )
        values.setdefault("name", path.stem)
        check_format(values.pop("format", FORMAT), path)
        values.pop("data_hash", None)  # a stored study names the data it was run on
        plugins += _plugins(values, path.parent)
        values = _located(values, path.parent)
    plugins += _plugins(overrides, Path.cwd())
    overrides = _located(overrides, Path.cwd())
    if values.get("also") and "grid" in overrides and "also" not in overrides:
        values, overrides = _narrowed(values, overrides, source)
    for plugin in plugins:
        load_plugin(plugin)
    built = build(Study, {**merge(values, overrides), "plugins": each_once(plugins)}, source)
    if study is None and "name" not in overrides:
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", built.data.name).strip("._-")
        built = built.model_copy(update={"name": name or "folder"})
    return built


def _narrowed(values: Mapping, overrides: Mapping, source: str) -> tuple[dict, dict]:
    """`values` and `overrides` of a study of several grids, with what `overrides` ask of `grid` asked of all.

    Asked seeds are those of each grid. Asked depths, or asked networks, are looked for in each grid, and what
    none has joins the first; where both are asked, all of them are one grid."""
    asked = build(Grids, {"grid": overrides["grid"]}, source).grid.model_dump(exclude_unset=True)
    told = build(Grids, {key: values[key] for key in ("grid", "also") if key in values}, source)
    seeds = {"seed": asked["seed"]} if "seed" in asked else {}
    first, *others = (grid.model_dump() | seeds for grid in (told.grid, *told.also))
    axes = [axis for axis in ("network", "depth") if axis in asked]
    if len(axes) == 2:
        first, others = first | asked, []
    elif axes:
        (axis,) = axes
        elsewhere = {value for grid in others for value in grid[axis]} - set(first[axis])
        first |= {axis: [value for value in asked[axis] if value not in elsewhere]}
        others = [grid | {axis: [value for value in asked[axis] if value in grid[axis]]} for grid in others]
        first, *others = (grid for grid in (first, *others) if grid[axis])
    return {**values, "also": others}, {**overrides, "grid": first}


def _located(values: Mapping, folder: Path) -> dict:
    """`values` with the full path of its data, a relative one from `folder`."""
    data = values.get("data")
    if not isinstance(data, Mapping) or not isinstance(data.get("path"), str):
        return dict(values)
    return {**values, "data": {**data, "path": str((folder / Path(data["path"]).expanduser()).resolve())}}


def _plugins(values: Mapping, folder: Path) -> list[str]:
    """The full paths of the plug-ins that `values` name, relative ones from `folder`."""
    plugins = values.get("plugins", [])
    if not isinstance(plugins, list) or not all(isinstance(plugin, str) for plugin in plugins):
        raise BadInput(f"plugins = {plugins!r}: should be a list of Python files")
    return [str((folder / plugin).resolve()) for plugin in plugins]


def check_format(found: Any, path: Path) -> None:
    """Raise BadInput if `path` was written by a version with another results format."""
    if found != FORMAT:
        raise BadInput(
            f"{path} has results format {found!r}; this version of depthbench reads format {FORMAT}: "
            "use the version that made it, or --name NAME to store new results beside it"
        )


def bundled_studies() -> dict[str, Path]:
    """Name -> file of the studies that come with depthbench."""
    package = Path(str(resources.files("depthbench")))
    folders = (package / "studies", package.parent / "studies")  # installed, or a checkout
    folder = next((f for f in folders if f.is_dir()), None)
    return {p.stem: p for p in sorted(folder.glob("*.toml"))} if folder else {}


def find_study(name: str) -> Path:
    """The file of a study, from a bundled name or a path. Raises BadInput for neither."""
    known = bundled_studies()
    if name in known:
        return known[name]
    if Path(name).is_file():
        return Path(name)
    what = "there is no such file" if name.endswith(".toml") else "no study is called so"
    raise BadInput(f"study {name!r}: {what}; {nearest(name, known)}")


def merge(values: Mapping, overrides: Mapping) -> dict:
    """`values` with `overrides` on top, table by table. Keys that exclude each other give way."""
    merged = dict(values)
    exclusive = {"steps": "epochs", "epochs": "steps", "val_size": "val_fraction", "val_fraction": "val_size"}
    for key, value in overrides.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key, {}), Mapping):
            merged[key] = merge(merged.get(key, {}), value)
        else:
            merged[key] = value
            if exclusive.get(key) not in overrides:
                merged.pop(exclusive.get(key), None)
    return merged


def build(model: type[Section], values: Mapping, source: str) -> Any:
    """`model(**values)`, its errors told in one line as a BadInput."""
    try:
        return model(**values)
    except ValidationError as error:
        raise BadInput(f"{source}: " + "; ".join(_explain(model, e) for e in error.errors())) from None


def _explain(model: type[BaseModel], error: Mapping) -> str:
    """One validation error: the key, the value, and what is allowed."""
    path = error["loc"]
    key = ".".join(str(part) for part in path)
    if error["type"] == "extra_forbidden":
        parts = [part for i, part in enumerate(path[:-1]) if path[:i] != ("variants",)]  # not their names
        for part in (part for part in parts if isinstance(part, str)):
            model = Variant if part == "variants" else _section(model.model_fields[part].annotation)
        return f"unknown key {key!r}: {nearest(path[-1], model.model_fields)}"
    if error["type"] == "missing":
        return f"{key} is missing"
    if not key or isinstance(error["input"], Mapping | BaseModel):
        return f"{key}: {_message(error)}" if key else _message(error)
    return f"{key} = {json.dumps(error['input'], default=str)}: {_message(error)}"


def _section(annotation: Any) -> type[BaseModel]:
    """The table that a field is, may be, or is a list of."""
    kinds = (annotation, *get_args(annotation))
    return next(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel))


def _message(error: Mapping) -> str:
    if error["type"] == "model_type":
        return "should be a table of keys"
    return error["msg"].removeprefix("Value error, ").replace("Input should", "should", 1)


def parse_setting(setting: str) -> dict[str, Any]:
    """`"recipe.lr=0.05"` -> `{"recipe": {"lr": 0.05}}`. The section may be left out where only one has
    the key. A value is read as TOML, and as plain text where it is none. Raises BadInput."""
    key, equals, text = (part.strip() for part in setting.partition("="))
    if not equals or not key:
        raise BadInput(f"--set {setting}: write --set KEY=VALUE, e.g. --set recipe.lr=0.05")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    sections = {name: field.annotation for name, field in Study.model_fields.items()}
    tables = {name: t for name, t in sections.items() if isinstance(t, type) and issubclass(t, Section)}
    if "." not in key and key not in sections:
        homes = [name for name, table in tables.items() if key in table.model_fields]
        if len(homes) != 1:
            if homes:
                say = f"ambiguous key {key!r}: write {' or '.join(f'{home}.{key}' for home in homes)}"
            else:
                every = {field for table in tables.values() for field in table.model_fields}
                say = f"unknown key {key!r}: {nearest(key, every)}"
            raise BadInput(f"--set {setting}: {say}")
        key = f"{homes[0]}.{key}"
    for part in reversed(key.split(".")):
        value = {part: value}
    return value
