"""Write an example of a plug-in or study, and its test, from the templates in depthbench/templates."""

import importlib.util
import keyword
import re
import sys
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from depthbench.errors import BadInput, nearest
from depthbench.paths import expand, problem_of_name
from depthbench.plugins.installed import add_installed
from depthbench.plugins.lists import LISTS
from depthbench.study.file import bundled_studies
from depthbench.study.model import file_name
from depthbench.text import shell


@dataclass(frozen=True)
class Kind:
    """A kind of file that `depthbench new` can write."""

    commands: Sequence[str]
    """The commands to run next, after the test. They work without changes to the file."""
    list: str | None = None
    """The list that it extends. None: it is not a plug-in."""


KINDS: dict[str, Kind] = {
    "network": Kind(
        [
            "depthbench check {file}",
            "depthbench run --plugin {file} --networks {name} --depths 8,16 --seeds 1 --steps 100 "
            "--name {study}",
        ],
        "NETWORKS",
    ),
    "probe": Kind(
        [
            "depthbench run --plugin {file} --set 'probe.names=[\"{name}\"]' --depths 8 --seeds 1 --steps 50 "
            "--name {study}",
        ],
        "PROBES",
    ),
    "dataset": Kind(
        [
            "depthbench run --plugin {file} --data {name} --depths 8 --seeds 1 --steps 50 --name {study}",
        ],
        "DATASETS",
    ),
    "figure": Kind(
        [
            "depthbench run --plugin {file} --depths 8,14 --seeds 1 --steps 50 --name {study}",
        ],
        "FIGURES",
    ),
    "study": Kind(["depthbench run {file} --dry-run", "depthbench run {file}"]),
}


@dataclass(frozen=True)
class Written:
    """The files that were written."""

    file: Path
    test: Path
    commands: Sequence[str]
    """The shell commands to run next."""


def write_new(kind: str, name: str, folder: str | Path = ".") -> Written:
    """Write a file of a kind, one of KINDS, and its test to `folder`, which is created.

    name: the name of the entry or study. The file has the same name, with underscores. Raises BadInput for an
    unknown kind, for a name that cannot be used, and if one of the files exists. Then nothing is written."""
    if kind not in KINDS:
        raise BadInput(f"new {kind}: {nearest(kind, KINDS, 'kinds')}")
    folder = expand(folder)
    module = _module_of(kind, name)
    suffix = ".toml" if kind == "study" else ".py"
    file, test = folder / f"{module}{suffix}", folder / f"test_{module}.py"
    for path in (file, test):
        if path.exists() or path.is_symlink():
            raise BadInput(f"new {kind} {name}: {path} exists; use another name or --output DIR")
    if module in sys.stdlib_module_names or importlib.util.find_spec(module) is not None:
        raise BadInput(f"new {kind} {name}: Python has a module {module!r} already; use another name")
    shown = {key: shell(path) for key, path in (("file", file), ("test", test))}
    templates = Environment(
        loader=PackageLoader("depthbench", "templates"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
    )
    sources = (f"{kind}{suffix}.jinja", f"test_{kind}.py.jinja")
    values = {
        "name": name,
        "module": module,
        "class_name": _class_name(module, _words_of(templates, sources)),
        "study": f"try-{module}",
        **shown,
    }
    commands = [line.format(**values) for line in KINDS[kind].commands]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, template in zip((file, test), sources, strict=True):
            with path.open("x", encoding="utf-8") as opened:
                opened.write(templates.get_template(template).render(values, commands=commands))
    except OSError as error:
        raise BadInput(
            f"new {kind} {name}: {folder} cannot be written ({error.strerror}); use another --output DIR"
        ) from None
    return Written(file, test, [f"pytest {shown['test']}", *commands])


def _class_name(module: str, taken: Collection[str]) -> str:
    """Return the name of the class in a file: that of the file in capitals, unless it is taken."""
    name = "".join(part[:1].upper() + part[1:] for part in module.split("_"))
    return f"{name}Network" if name in taken or keyword.iskeyword(name) else name


def _words_of(templates: Environment, names: Iterable[str]) -> set[str]:
    """Return all words of templates, among them every name that their code uses."""
    assert templates.loader is not None
    return {
        word for name in names for word in re.findall(r"\w+", templates.loader.get_source(templates, name)[0])
    }


def _module_of(kind: str, name: str) -> str:
    """Return the name of the file without suffix. Raises BadInput for a name that cannot be used."""
    where = f"new {kind} {name}"
    module = re.sub(r"[-.]", "_", name)
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]*", name) or keyword.iskeyword(module):
        raise BadInput(
            f"new {kind} {name!r}: the name should be letters, digits, '_', '-' and '.', and begin with a "
            "letter, such as my-block"
        )
    list_ = KINDS[kind].list
    problem = problem_of_name(name) if list_ is None else LISTS[list_].problem(name)
    if problem is not None:
        raise BadInput(f"{where}: the name {problem}; use another name")
    if list_ is None:
        try:
            file_name(name)
        except ValueError as error:
            raise BadInput(f"{where}: the name {error}") from None
        if name in bundled_studies():
            raise BadInput(f"{where}: depthbench has a study of this name; use another name")
        return module
    add_installed()
    if name in LISTS[list_].entries:
        raise BadInput(f"{where}: depthbench has a {kind} of this name; use another name")
    return module
