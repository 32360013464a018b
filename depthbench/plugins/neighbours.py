"""The Python files next to a plug-in that it imports, such as `my_layers.py` next to `my_block.py`.

A neighbour is imported under a private name that contains a key of its folder. Plug-ins in different folders
therefore cannot import each other's modules, and neither can other code. As in a script, a neighbour
takes precedence over an installed package of the same name, but not over the standard library."""

import ast
import builtins
import contextlib
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from depthbench.errors import PLUGIN_PREFIX, BadInput

NEVER = sys.stdlib_module_names | {"depthbench"}
"""Names that a neighbour cannot have."""

_folders: dict[str, Path] = {}
"""Key -> folder of plug-ins."""


_digests: dict[str, tuple[str, bytes]] = {}
"""Private name of a module -> its file, and the SHA-256 of its content when it was hashed or loaded."""


def neighbours_of(file: Path) -> dict[str, bytes]:
    """Return all neighbours that a plug-in imports, directly or not: path relative to its folder -> content.

    They are found in the text of the files, so imports inside functions count. Blocks for type checkers and
    `if __name__ == "__main__"` do not count. Nothing is executed."""
    folder, found = file.parent, {}
    queue = [(file, "", file.read_bytes())]
    while queue:
        importing, package, content = queue.pop()
        for name in _imported_names(content, package):
            located = locate(folder, name)
            if located is None or not located.is_file() or located == file:
                continue
            path = located.relative_to(folder).as_posix()
            if path not in found and located != importing:
                found[path] = located.read_bytes()
                is_package = located.name == "__init__.py"
                queue.append((located, name if is_package else name.rpartition(".")[0], found[path]))
    return found


def locate(folder: Path, name: str) -> Path | None:
    """Return the file of a module in `folder`, or the folder of a package without `__init__.py`.

    Returns None if there is no such neighbour. name: the name of the module, with dots."""
    parts = name.split(".")
    if parts[0] in NEVER or not all(part.isidentifier() for part in parts):
        return None
    base = folder.joinpath(*parts)
    for file in (base / "__init__.py", base.parent / f"{base.name}.py"):
        if file.is_file():
            return file
    if any(base.glob("*.py")) and (len(parts) > 1 or PathFinder.find_spec(name) is None):
        return base
    return None


@contextlib.contextmanager
def forgetting_on_error() -> Iterator[None]:
    """If an exception is raised inside, forget the modules of plug-ins that were imported inside.

    Loading the plug-in again then executes its files again, which can have been corrected."""
    modules, digests = set(sys.modules), dict(_digests)
    try:
        yield
    except BaseException:
        for name in [name for name in sys.modules if name.startswith(PLUGIN_PREFIX) and name not in modules]:
            del sys.modules[name]
            package, _, attribute = name.rpartition(".")
            if package in sys.modules:
                vars(sys.modules[package]).pop(attribute, None)
        _digests.clear()
        _digests.update(digests)
        raise


def load_module(file: Path, files: Mapping[str, bytes]) -> ModuleType:
    """Execute a plug-in and return its module.

    files: the content of the plug-in and of its neighbours, as in `Plugin.files`. Raises BadInput if one of
    them was loaded earlier with another content."""
    name = _module_name(file)
    key, (_, *neighbours) = _key(file.parent), files
    _check_digest(name, file, files[file.name])
    for path in neighbours:
        dotted = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        _check_digest(f"{key}.{dotted}", file.parent / path, files[path])
    if name in sys.modules:  # another plug-in in this folder imported it
        return sys.modules[name]
    spec = spec_from_file_location(
        name, file, loader=_Loader(name, str(file), has_neighbours=bool(neighbours))
    )
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses, for example, look up their module there
    spec.loader.exec_module(module)
    return module


def _check_digest(name: str, file: Path, content: bytes) -> None:
    """Raise BadInput if a module was loaded, or hashed for `Plugin.source`, with another content."""
    digest = (str(file), sha256(content).digest())
    if _digests.setdefault(name, digest) != digest:
        raise BadInput(f"{file.name} has changed since it was loaded; start a new process")


def public(text: str, file: Path) -> str:
    """Replace the private names of neighbours in a message by those that the plug-in `file` uses."""
    return text.replace(f"{_key(file.parent)}.", "")


def _module_name(file: Path) -> str:
    stem = file.stem
    if not stem.isidentifier():  # its name differs from that of any neighbour
        stem = f"{stem.replace('.', '_')}_{sha256(stem.encode()).hexdigest()[:8]}"
    return f"{_key(file.parent)}.{stem}"


def _key(folder: Path) -> str:
    """Return the name of the private package of a folder, and create the package if needed."""
    key = f"{PLUGIN_PREFIX}{sha256(str(folder).encode()).hexdigest()[:12]}"
    _folders[key] = folder
    if key not in sys.modules:
        package = ModuleType(key)
        package.__path__ = [str(folder)]
        sys.modules[key] = package
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)
    return key


class _Finder(MetaPathFinder):
    """Finds neighbours by their private names."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        key, _, name = fullname.partition(".")
        if key not in _folders or not name:
            return None
        located = locate(_folders[key], name)
        if located is None:
            return None
        if located.is_dir():
            spec = ModuleSpec(fullname, None, is_package=True)
            spec.submodule_search_locations = [str(located)]
            return spec
        is_package = located.name == "__init__.py"
        return spec_from_file_location(
            fullname,
            located,
            loader=_Loader(fullname, str(located)),
            submodule_search_locations=[str(located.parent)] if is_package else None,
        )


_FINDER = _Finder()


class _Loader(SourceFileLoader):
    """Loads a plug-in or a neighbour from its text, so that the hashed code is what runs.

    It writes no `__pycache__`."""

    def __init__(self, name: str, path: str, *, has_neighbours: bool = True):
        super().__init__(name, path)
        self.has_neighbours = has_neighbours

    def get_code(self, fullname: str) -> Any:
        content = self.get_data(self.path)
        _check_digest(fullname, Path(self.path), content)
        return self.source_to_code(content, self.path)

    def exec_module(self, module: ModuleType) -> None:
        if self.has_neighbours:
            key = module.__name__.partition(".")[0]
            module.__dict__["__builtins__"] = {**vars(builtins), "__import__": _importer(key)}
        super().exec_module(module)


def _importer(key: str) -> Callable[..., Any]:
    """Return an `__import__` for the modules in a folder, which looks for neighbours first."""

    def import_(  # noqa: PLR0917 - as Python calls it
        name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
    ) -> ModuleType:
        top = name.partition(".")[0]
        is_neighbour = level == 0 and (f"{key}.{top}" in sys.modules or locate(_folders[key], top))
        if not is_neighbour or top in NEVER:
            return builtins.__import__(name, globals, locals, fromlist, level)
        if fromlist:
            return builtins.__import__(f"{key}.{name}", globals, locals, fromlist, 0)
        importlib.import_module(f"{key}.{name}")
        return sys.modules[f"{key}.{top}"]

    return import_


def _imported_names(content: bytes, package: str) -> Iterator[str]:
    """Yield the modules that a file may import, with dots, and the packages that contain them.

    package: the package of the file, which relative imports refer to."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # reported when the file is loaded
        return
    for node in _executed(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".") if package else []
            if node.level:
                parents = parents[: max(0, len(parents) - node.level + 1)]
                base = ".".join([*parents, *filter(None, [node.module])])
            else:
                base = node.module or ""
            names = [".".join(filter(None, [base, alias.name])) for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[:count]) for count in range(1, len(parts) + 1))


def _executed(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that can be executed when a plug-in is used."""
    stack = [tree]
    while stack:  # the file may be nested too deeply for recursion
        node = stack.pop()
        yield node
        is_skipped = isinstance(node, ast.If) and _is_false(node.test)
        stack += node.orelse if isinstance(node, ast.If) and is_skipped else ast.iter_child_nodes(node)


def _is_false(test: ast.expr) -> bool:
    """Return whether a condition is `TYPE_CHECKING` or `__name__ == "__main__"`."""
    if isinstance(test, ast.Compare) and isinstance(test.left, ast.Name):
        return test.left.id == "__name__" and isinstance(test.ops[0], ast.Eq)
    name = test.id if isinstance(test, ast.Name) else test.attr if isinstance(test, ast.Attribute) else ""
    return name == "TYPE_CHECKING"
