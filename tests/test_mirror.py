"""Tests mirror the package: tests/X/test_Y.py tests depthbench/X/Y.py."""

from pathlib import Path

import depthbench

TESTS = Path(__file__).parent
PACKAGE = Path(depthbench.__file__).parent
ELSEWHERE = {  # tests of several modules together
    "contracts/",
    "fuzz/",
    "probes/test_theory.py",
    "report/style/test_vision.py",
    "report/test_browser.py",
    "store/test_s3.py",
    "test_api.py",
    "test_documents.py",
    "test_imports.py",
    "test_mirror.py",
    "test_trust.py",
    "training/test_kills.py",
    "training/test_loop_of_files.py",
    "training/test_text.py",
}


def orphans(tests: Path, package: Path) -> set[str]:
    """Return the files of tests that mirror no module of `package`, and the folders if they mirror none."""
    found = set()
    for file in tests.rglob("test_*.py"):
        folder = file.relative_to(tests).parent
        if not (package / folder).is_dir():
            found.add(f"{folder.as_posix()}/")
        elif not (package / folder / file.name.removeprefix("test_")).is_file():
            found.add((folder / file.name).as_posix())
    return found


def test_every_test_file_mirrors_a_module_or_is_listed_as_an_exception():
    assert orphans(TESTS, PACKAGE) == ELSEWHERE


def test_tests_of_a_renamed_module_or_package_are_orphans(tmp_path):
    for name in ("package/data/new.py", "tests/data/test_new.py", "tests/data/test_old.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    tests, package = tmp_path / "tests", tmp_path / "package"
    assert orphans(tests, package) == {"data/test_old.py"}
    (package / "data").rename(package / "images")
    assert orphans(tests, package) == {"data/"}
