"""The package's modules import each other in one direction, and reading results needs no torch."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import depthbench

ROOT = Path(depthbench.__file__).parent
READ_SIDE = (
    "depthbench",
    "depthbench.analysis",
    "depthbench.cli.app",
    "depthbench.execution",
    "depthbench.plugins",
    "depthbench.plugins.loading",
    "depthbench.report",
    "depthbench.report.page",
    "depthbench.report.comparison",
    "depthbench.store.results",
    "depthbench.study.model",
)


def module_of(file: Path, root: Path, package: str) -> str:
    parts = file.relative_to(root).with_suffix("").parts
    return ".".join([package, *(part for part in parts if part != "__init__")])


def imported_by(tree: ast.AST, modules: set[str]) -> Iterator[str]:
    """Yield each of `modules` that a parsed file names in an import, wherever it stands in the file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not followed"
            members = [f"{node.module}.{alias.name}" for alias in node.names]
            if node.module in modules and not all(member in modules for member in members):
                yield node.module
            yield from (member for member in members if member in modules)


def import_graph(root: Path, package: str) -> dict[str, set[str]]:
    """Return module -> the modules that must be imported for it.

    Importing `a.b.c` also imports the packages `a` and `a.b`. A module's own packages are left out, because
    they are always imported before it."""
    files = {module_of(file, root, package): file for file in root.rglob("*.py")}
    graph: dict[str, set[str]] = {}
    for module, file in files.items():
        needed = graph.setdefault(module, set())
        for name in imported_by(ast.parse(file.read_text(encoding="utf-8")), set(files)):
            parents = {name.rsplit(".", depth)[0] for depth in range(1, name.count(".") + 1)}
            needed |= {name} | {parent for parent in parents if not f"{module}.".startswith(f"{parent}.")}
        needed.discard(module)
    return graph


def cycle_in(graph: dict[str, set[str]]) -> list[str]:
    """Return a cycle of the graph, or an empty list."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_no_module_imports_itself_through_others():
    assert " -> ".join(reversed(cycle_in(import_graph(ROOT, "depthbench")))) == ""


@pytest.mark.parametrize(
    "importing",
    [
        "from thing.b import x",
        "import thing.b",
        "def f():\n    from thing import b",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from thing.b import x",
    ],
)
def test_every_kind_of_import_is_seen(tmp_path, importing):
    (tmp_path / "__init__.py").write_text("")
    (tmp_path / "a.py").write_text(importing)
    (tmp_path / "b.py").write_text("import thing.a")
    assert set(cycle_in(import_graph(tmp_path, "thing"))) == {"thing.a", "thing.b"}


def test_a_package_imported_by_its_members_is_a_cycle(tmp_path):
    (tmp_path / "part").mkdir()
    for name, text in {
        "__init__.py": "",
        "a.py": "from thing.part.inner import x",
        "part/__init__.py": "import thing.a",
        "part/inner.py": "",
    }.items():
        (tmp_path / name).write_text(text)
    assert set(cycle_in(import_graph(tmp_path, "thing"))) == {"thing.a", "thing.part"}


@pytest.mark.parametrize("module", READ_SIDE)
def test_reading_and_listing_need_no_torch(module):
    check = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True)
