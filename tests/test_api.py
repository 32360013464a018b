import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest

import depthbench
import depthbench.plugins
import depthbench.report


@pytest.mark.slow
def test_four_calls_from_a_script_without_a_main_guard(tmp_path):
    """As the README shows it; a script must not need `if __name__ == "__main__"`."""
    script = tmp_path / "script.py"
    script.write_text(
        "from depthbench import load_results, load_study, run_study, write_report\n"
        "from depthbench.report import FIGURES\n"
        "for name in set(FIGURES) - {'degradation'}:\n"  # to draw all takes seconds
        "    del FIGURES[name]\n"
        'study = load_study("quick", name="small", grid={"depth": [8], "seed": [0]},'
        ' options={"width": 4}, recipe={"steps": 4, "batch_size": 16}, evaluate={"every": 2})\n'
        'path = run_study(study, "results", device="cpu", jobs=1)\n'
        "runs, history, layers = load_results(path)\n"
        "print(len(runs), len(layers), write_report(path))\n"
    )
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    # 2 runs, each of 8 layers probed at steps 0, 1, 2 and 3
    assert done.stdout.split() == ["2", "64", "results/small/report/index.html"]
    tables = depthbench.load_results(tmp_path / "results" / "small")
    assert all(isinstance(table, pd.DataFrame) for table in tables)


def test_the_api_is_small_and_an_unknown_name_is_an_error():
    assert sorted(depthbench.__all__) == depthbench.__all__
    assert all(callable(getattr(depthbench, name)) for name in depthbench.__all__)
    with pytest.raises(AttributeError, match="no attribute 'train'"):
        depthbench.train  # noqa: B018


@pytest.mark.parametrize(
    "package", [depthbench, depthbench.report, depthbench.plugins], ids=lambda package: package.__name__
)
def test_the_types_of_a_package_that_loads_lazily_are_those_of_its_names(package):
    """mypy reads __init__.pyi and does not look at __init__.py."""
    stub = ast.parse(Path(package.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    typed = {}
    for statement in stub.body:
        if isinstance(statement, ast.ImportFrom):
            module = import_module(statement.module)
            typed |= {alias.asname: getattr(module, alias.name) for alias in statement.names}
    assert sorted(typed) == sorted(package.__all__)
    for name, value in typed.items():
        assert getattr(package, name) is value, name
