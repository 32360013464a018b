"""TOML + overrides -> Study: find a study, read it, and report in one line what is wrong with it."""

import contextlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from depthbench.data.kinds import is_text
from depthbench.data.settings import FOR_SEQUENCES
from depthbench.errors import BadInput, any_of, nearest
from depthbench.files import NotToml, parse_toml, read_toml
from depthbench.networks import NETWORKS
from depthbench.networks.family import Family
from depthbench.parameters import Parameter
from depthbench.paths import URL, expand, locate
from depthbench.plugins.lists import describe
from depthbench.plugins.loading import Plugin, load_plugins
from depthbench.schema import Section, each_once, explain
from depthbench.store.mirror import shown
from depthbench.store.plugin_copies import FOLDER, copies_of
from depthbench.store.remote import fetch_file
from depthbench.study.grid import Grid, Grids, restrict_grids
from depthbench.study.model import FORMAT, Frontier, Study, Variant
from depthbench.study.sweep import SECTIONS as SWEPT
from depthbench.study.sweep import expand_sweep, values_of_sweep
from depthbench.study.unset import is_unset, without_unset
from depthbench.text import shell
from depthbench.training.optimizers import OPTIMIZERS


def load_study(study: str | Path | None = None, **overrides: Any) -> Study:
    """Load a study by its bundled name or from a TOML file, and apply `overrides`.

    Overrides are sections or single keys, e.g. `load_study("quick", grid={"depth": [20]},
    recipe={"steps": 100})`. Without `study`, the result is the recipe of He et al. 2015 on `data`, and has
    the name of the data. If a study has several grids, `grid` applies to all of them (`restrict_grids`). The
    plug-ins that the file and the overrides name are executed: read those of a file from someone else first.
    Relative paths of plug-ins and data start from the folder of the file that names them.

    Raises BadInput for an unknown study, a syntax error (with its line), an unknown key (with the
    nearest known one), a wrong type or an impossible value."""
    return read_study(study, overrides)


def read_study(
    study: str | Path | None,
    overrides: Mapping[str, Any],
    *,
    check_consent: Callable[[Path, Path], None] = lambda file, plugin: None,
    searched: Sequence[str] = (),
) -> Study:
    """Return what `load_study` does, but execute a plug-in of a study file only with consent.

    `check_consent` is called with the study file and the full path of a plug-in. It raises BadInput if the
    file may not execute that plug-in. The plug-ins of `overrides` need no consent. searched: networks of a
    search, each at its shallowest depth. They replace the grids."""
    _check_networks()
    values: dict[str, Any] = {}
    plugins: list[str] = []
    source = "study"
    if study is not None:
        path = find_study(str(study))
        source = f"study {path.stem}"
        named = [Path(file) for file in _plugin_paths(overrides, Path.cwd())]
        values = _read_file(path, _Consent(check_consent, named))
        values.setdefault("name", path.stem)
        plugins += values.pop("plugins")
    plugins += _plugin_paths(overrides, Path.cwd())
    overrides = _resolve_data_path(overrides, Path.cwd())
    if "extends" in overrides:
        raise BadInput("extends: only a study file can extend another; name the other study instead")
    reset = _reset_keys(overrides)
    if values.get("also") and "grid" in overrides and "also" not in overrides:
        values, overrides = _restrict(values, overrides, source)
    load_plugins(plugins)
    values, overrides = (_with_full_keys(tables, source) for tables in (values, overrides))
    merged = without_unset(merge(values, overrides), Study, _known_keys())
    merged["plugins"] = each_once(plugins)
    merged = _swept(merged, source, searched)
    built = _build_with_defaults(_for_search(merged, searched) if searched else merged, source, reset)
    if study is None and "name" not in overrides:
        built = built.model_copy(update={"name": name_after(built.data.name)})
    return built


def name_after(data: str) -> str:
    """Return the name of a study on `data` that has no name of its own."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", data).strip("._-") or "folder"


@dataclass(frozen=True)
class _Consent:
    """The rules by which plug-ins of a study file are executed."""

    check: Callable[[Path, Path], None]
    """See `read_study`."""
    named: Sequence[Path]
    """The plug-ins of the overrides."""

    def plugins(self, file: Path, listed: Sequence[str]) -> list[str]:
        """Return the plug-ins of a study file to load, as full paths.

        Leaves out plug-ins that a named plug-in replaces. Raises BadInput for a plug-in without consent, and
        for one that does not exist; the message names the copies stored with the results."""
        kept = []
        for path in listed:
            plugin = Path(path)
            if any(self._replaces(other, plugin, file) for other in self.named):
                continue
            if not plugin.is_file() and (copies := copies_of(file, plugin)):
                named = " or ".join(shell("--plugin", copy) for copy in copies)
                raise BadInput(
                    f"{shown(file)}: its plug-in {plugin} does not exist; add {named}, which these results "
                    "were made with, or --plugin with its new path"
                )
            self.check(file, plugin)
            kept.append(path)
        return kept

    def _replaces(self, other: Path, plugin: Path, file: Path) -> bool:
        """Return whether the named plug-in `other` replaces `plugin`, which a study file lists.

        It does if both have the same content. If `plugin` does not exist, or `other` is a copy that is stored
        with the study, the same name is enough."""
        if other == plugin or not other.is_file():
            return False
        if not plugin.is_file() or other.is_relative_to(file.parent.resolve() / FOLDER):
            return other.name == plugin.name
        return Plugin.read(other).source == Plugin.read(plugin).source


def _for_search(values: Mapping, networks: Sequence[str]) -> dict:
    """Return the tables of a study with a grid for each network, at its shallowest depth."""
    grid, variants = (
        table if isinstance(table := values.get(key, {}), Mapping) else {} for key in ("grid", "variants")
    )
    grids = []
    for network in networks:
        variant = variants.get(network, {"of": network})
        of = variant.get("of") if isinstance(variant, Mapping) else None
        family = NETWORKS.get(of) if isinstance(of, str) else None
        shallowest = 1 if family is None else family.resolved().depths.depth(1)
        grids.append({**grid, "network": [network], "depth": [shallowest]})
    return {**values, "grid": grids[0], "also": grids[1:]}


def _read_file(path: Path, consent: _Consent, chain: Sequence[Path] = ()) -> dict:
    """Return the tables of a study file, merged with those of the study that it extends.

    Paths in it are full paths. chain: the files that extend this one. Raises BadInput for what `read_study`
    refuses, and for a study that extends itself."""
    try:
        values = read_toml(path)
    except NotToml as error:
        raise BadInput(f"{path} is not valid TOML: {error}") from None
    if not values:
        raise BadInput(
            f"{path} is empty: write a [grid] into it, or use a bundled study (`depthbench list studies`)"
        )
    check_format(values.pop("format", FORMAT), path)
    if "watched" in values:
        raise BadInput(
            f"{path} lists runs that depthbench.watch recorded in another loop: run the program "
            "with that loop"
        )
    values.pop("data_hash", None)  # a stored study names the data it was run on
    plugins = consent.plugins(path, _plugin_paths(values, path.parent))
    values = {**_resolve_data_path(values, path.parent), "plugins": plugins}
    if "extends" not in values:
        return values
    base = _find_base(path, values.pop("extends"))
    chain = (*chain, path.resolve())
    if base.resolve() in chain:
        names = " -> ".join(file.name for file in (*chain, base))
        raise BadInput(f"study {chain[0].stem} extends itself ({names}): remove one `extends`")
    return _extended(_read_file(base, consent, chain), values)


def _find_base(path: Path, name: Any) -> Path:
    """Return the file of the study that the file `path` extends: a bundled study, or one relative to it."""
    if not isinstance(name, str) or not name:
        raise BadInput(
            f"study {path.stem}: extends = {json.dumps(name, default=str)}: should be the name of a bundled "
            'study or a TOML file, such as "quick"'
        )
    file = path.parent / expand(name)
    if name not in bundled_studies() and file.is_file():
        return file
    try:
        return find_study(name if name in bundled_studies() or isinstance(locate(name), URL) else str(file))
    except BadInput:
        problem = nearest(name, bundled_studies(), "bundled studies")
        raise BadInput(f"study {path.stem}: extends = {name!r}: no such study or file; {problem}") from None


def _extended(base: Mapping, values: Mapping) -> dict:
    """Return the tables of a study that extends `base`, key by key.

    The name is not inherited. A grid replaces all grids of `base`, and other data do not keep its path or
    its name."""
    base = {key: value for key, value in base.items() if key != "name"}
    if "grid" in values:
        base.pop("also", None)
    own = values.get("data", {})
    if isinstance(own, Mapping) and {"name", "path"} & own.keys() and isinstance(base.get("data"), Mapping):
        others = ("name", "path", "image_size", "kind", *FOR_SEQUENCES)
        base["data"] = {key: value for key, value in base["data"].items() if key not in others}
    plugins = each_once([*base.get("plugins", []), *values["plugins"]])
    return {**merge(base, values), "plugins": plugins}


def _with_full_keys(values: Mapping, source: str) -> dict:
    """Return `values` with the keys and lists of its sweep checked, so that a flag can replace a list."""
    table = values.get("sweep", {})
    if not table or is_unset(table):
        return dict(values)
    try:
        sweep = values_of_sweep(table, lambda key: full_key(key, f"sweep.{key}", SWEPT))
        for full, points in sweep.items():
            _check_points(full, points)
    except BadInput as error:
        raise BadInput(f"{source}: {error}") from None
    return {**values, "sweep": sweep}


def _swept(values: dict, source: str, searched: Sequence[str]) -> dict:
    """Return the tables of a study with the variants of its sweep, if it has one."""
    sweep = values.pop("sweep", {})
    if not sweep:
        return values
    if searched:
        raise BadInput(f"{source}: a search takes no sweep: remove [sweep], or use `depthbench run`")
    build(Grids, {key: values[key] for key in ("grid", "also") if key in values}, source)
    try:
        return expand_sweep(values, sweep)
    except BadInput as error:
        raise BadInput(f"{source}: {error}") from None


def _check_points(full: str, points: Sequence[Any]) -> None:
    """Raise BadInput for a swept value that its key does not take."""
    section, _, key = full.partition(".")
    for value in points:
        nested: Any = value
        for part in reversed(key.split(".")):
            nested = {part: nested}
        try:
            tables_of_study()[section](**nested)
        except ValidationError as error:
            if error.errors()[0]["loc"]:  # else it depends on other keys, and the study reports it
                build(tables_of_study()[section], nested, "sweep")


def _restrict(values: Mapping, overrides: Mapping, source: str) -> tuple[dict, dict]:
    """Apply the grid of `overrides` to all grids of `values`, and return both with the result."""
    requested, stored = (
        build(Grids, without_unset(tables, Study, _known_keys()), source)
        for tables in ({"grid": overrides["grid"]}, {k: values[k] for k in ("grid", "also") if k in values})
    )
    result = restrict_grids(stored, requested.grid, _reset_keys(overrides)).model_dump()
    return {**values, "also": result["also"]}, {**overrides, "grid": result["grid"]}


def _reset_keys(overrides: Mapping) -> list[str]:
    """Return the keys of the grid that `overrides` reset to their defaults."""
    grid = overrides.get("grid", {})
    if is_unset(grid):
        return list(Grid.model_fields)
    return [key for key in Grid.model_fields if isinstance(grid, Mapping) and is_unset(grid.get(key))]


def _build_with_defaults(values: Mapping, source: str, reset: Sequence[str]) -> Study:
    """Return the study. Raises BadInput that names the defaults of the `reset` keys of the grid."""
    try:
        return build(Study, values, source)
    except BadInput as error:
        own = [
            f"grid.{key} is unset, which means {json.dumps(value)}"
            for key, value in Grid().model_dump().items()
            if key in reset
        ]
        raise BadInput("; ".join([str(error), *own])) from None


def _resolve_data_path(values: Mapping, folder: Path) -> dict:
    """Return `values` with the full path and the kind of its data. Relative paths start from `folder`."""
    data = values.get("data")
    if not isinstance(data, Mapping) or not isinstance(data.get("path"), str) or is_unset(data["path"]):
        return dict(values)
    path = (folder / expand(data["path"])).resolve()
    kind = {"kind": "text"} if data.get("kind") is None and is_text(path) else {}
    return {**values, "data": {**data, "path": str(path), **kind}}


def _plugin_paths(values: Mapping, folder: Path) -> list[str]:
    """Return the full paths of the plug-ins that `values` name. Relative paths start from `folder`."""
    plugins = values.get("plugins", [])
    if not isinstance(plugins, list) or not all(isinstance(plugin, str) for plugin in plugins):
        raise BadInput(f'plugins = {plugins!r}: should be a list of Python files, such as ["my_block.py"]')
    return [str((folder / expand(plugin)).resolve()) for plugin in plugins]


def check_format(version: Any, path: str | Path) -> None:
    """Raise BadInput if `path` was written by a version with another results format."""
    if version != FORMAT:
        raise BadInput(
            f"{path} has results format {version!r}, but this version of depthbench reads format {FORMAT}: "
            "use the version that wrote it, or add --name NAME to store new results as another study"
        )


def bundled_studies() -> dict[str, Path]:
    """Return the studies that come with depthbench: name -> file."""
    package = Path(str(resources.files("depthbench")))
    folders = (package / "studies", package.parent / "studies")  # installed, or a checkout
    folder = next((f for f in folders if f.is_dir()), None)
    return {p.stem: p for p in sorted(folder.glob("*.toml"))} if folder else {}


def find_study(name: str) -> Path:
    """Return the file of a study, given its bundled name, path or URL. Raises BadInput if it is neither."""
    known = bundled_studies()
    if name in known:
        return known[name]
    location = locate(name)
    if isinstance(location, URL):
        return fetch_file(location)
    if Path(name).is_file():
        return Path(name)
    problem = "no such file" if name.endswith(".toml") else "no such study"
    raise BadInput(f"study {name!r}: {problem}; {nearest(name, known, 'bundled studies')}")


def merge(values: Mapping, overrides: Mapping) -> dict:
    """Return `values` with `overrides` applied, table by table.

    An override removes the key that it excludes, e.g. steps removes epochs. The override "unset" does not."""
    merged = dict(values)
    exclusive = {"steps": "epochs", "epochs": "steps", "val_size": "val_fraction", "val_fraction": "val_size"}
    for key, value in overrides.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key, {}), Mapping):
            merged[key] = merge(merged.get(key, {}), value)
        else:
            merged[key] = value
            if exclusive.get(key) not in overrides and not is_unset(value):
                merged.pop(exclusive.get(key), None)
    return merged


def build(model: type[Section], values: Mapping, source: str) -> Any:
    """Return `model(**values)`. Raises BadInput with all errors in one line."""
    try:
        return model(**values)
    except ValidationError as error:
        problems = [_explain(model, e) for e in error.errors()]
    if len(problems) == 1:
        raise BadInput(f"{source}: {problems[0]}")
    numbered = "; ".join(f"({i}) {problem}" for i, problem in enumerate(problems, 1))
    raise BadInput(f"{source} has {len(problems)} errors: {numbered}")


def _explain(model: type[BaseModel], error: Mapping) -> str:
    """Return one validation error in words: the key, the value, and what is allowed."""
    path = error["loc"]
    key = _dotted(path)
    if error["type"] == "extra_forbidden":
        parts = [part for i, part in enumerate(path[:-1]) if path[:i] != ("variants",)]  # not their names
        for part in (part for part in parts if isinstance(part, str)):
            model = Variant if part == "variants" else _section(model.model_fields[part].annotation)
        kind = f"keys of {_dotted(path[:-1])}" if len(path) > 1 else "keys"
        known = [*model.model_fields, *(["extends"] if len(path) == 1 else [])]
        return f"unknown key {key!r}; {nearest(path[-1], known, kind)}"
    if error["type"] == "missing":
        return f"{key} is missing: add it"
    problem = explain(error, key)
    if not key or isinstance(error["input"], Mapping | BaseModel):
        return f"{key}: {problem}" if key else problem
    return f"{key} = {json.dumps(error['input'], default=str)}: {problem}"


def _dotted(path: Sequence[str | int]) -> str:
    """Return the key at `path`, e.g. `grid.depth[0]`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def _section(annotation: Any) -> type[BaseModel]:
    """Return the table type in an annotation: the annotation itself, an option of a union, or a list item."""
    kinds = (annotation, *get_args(annotation))
    return next(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel))


def tables_of_study() -> dict[str, type[Section]]:
    """Return the sections of a study that always exist, by name."""
    sections = {name: field.annotation for name, field in Study.model_fields.items()}
    return {name: t for name, t in sections.items() if isinstance(t, type) and issubclass(t, Section)}


def _known_keys() -> dict[str, set[str]]:
    """Return the keys of each section, and those of its table of settings of optimisers."""
    known = {name: set(table.model_fields) for name, table in tables_of_study().items()}
    known["frontier"] = set(Frontier.model_fields)
    known["options"] |= own_options().keys()
    known["recipe.optimizer_settings"] = {key for entry in OPTIMIZERS.values() for key in entry.settings}
    return known


def homes_of(key: str) -> list[str]:
    """Return the names of the sections that contain the first part of `key`.

    Options of loaded plug-ins are in the section `options`."""
    first = key.partition(".")[0]
    homes = [name for name, table in tables_of_study().items() if first in table.model_fields]
    return homes or ["options"] * (first in own_options())


def own_options(*, imports: bool = False) -> dict[str, dict[str, Parameter]]:
    """Return the options that builders of plug-ins declare: name -> network -> its declaration.

    imports: whether to import the networks of installed packages as well."""
    found: dict[str, dict[str, Parameter]] = {}
    for network, entry in NETWORKS.items():
        family = entry
        with contextlib.suppress(BadInput):  # `list networks` shows why it cannot be imported
            family = entry.resolved() if imports else entry
        for name, parameter in family.own.known.items() if family.source else ():
            found.setdefault(name, {})[network] = parameter
    return found


def _check_networks() -> None:
    """Raise BadInput if a notebook or script has put something else than a description into NETWORKS."""
    entries: Mapping[str, Any] = NETWORKS
    for name, entry in entries.items():
        if not isinstance(entry, Family):
            raise BadInput(
                f"NETWORKS[{name!r}] is {describe(entry)}, which the processes that train cannot import; put "
                f"it into a Python file with NETWORKS = {{{name!r}: ...}}, and add "
                'plugins=["my_file.py"] to load_study'
            )


def parse_setting(setting: str) -> dict[str, Any]:
    """Parse `"recipe.lr=0.05"` to `{"recipe": {"lr": 0.05}}`.

    The section can be left out if only one section has the key, e.g. in `"optimizer_settings.eps=1e-6"`. A
    value that is not valid TOML is read as text. Raises BadInput for an unknown or ambiguous key."""
    key, equals, text = (part.strip() for part in setting.partition("="))
    if not equals or not key:
        raise BadInput(f"--set {setting} is not of the form KEY=VALUE: write e.g. --set lr=0.05")
    value = parse_value(text)
    for part in reversed(full_key(key, f"--set {setting}").split(".")):
        value = {part: value}
    return value


def parse_value(text: str) -> Any:
    """Parse a value as TOML. A value that is not valid TOML is text."""
    try:
        return parse_toml(f"value = {text}")["value"]
    except NotToml:
        return text


def full_key(key: str, place: str, sections: Sequence[str] = ()) -> str:
    """Return `recipe.lr` of `lr`: a key with its section, if only one section has the key.

    Keys with a section are returned as they are, also unknown ones. sections: the sections to look in.
    Default: all. Raises BadInput, which begins with `place`, for an unknown or ambiguous key."""
    tables = {name: each for name, each in tables_of_study().items() if name in sections or not sections}
    homes = [home for home in homes_of(key) if home in tables]
    is_known = key.partition(".")[0] in Study.model_fields
    if is_known or not (homes or "." not in key):  # loading the study reports unknown keys of sections
        return key
    if len(homes) == 1:
        return f"{homes[0]}.{key}"
    if homes:
        problem = f"several sections have a key {key!r}: write {any_of(f'{h}.{key}' for h in homes)}"
    else:
        every = {field for table in tables.values() for field in table.model_fields}
        every |= own_options().keys()
        problem = f"unknown key {key!r}; {nearest(key, every, 'keys')}"
    raise BadInput(f"{place}: {problem}")
