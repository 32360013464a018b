from pathlib import Path

from depthbench.execution.settings import Execution


def test_single_settings_make_one_object():
    chosen = Execution.of(None, results="elsewhere", device="cpu", data_dir="~/images")
    assert chosen == Execution(Path("elsewhere"), device="cpu", data_dir=Path("~/images"))


def test_an_object_is_used_if_no_setting_contradicts_it():
    execution = Execution(Path("elsewhere"), jobs=2)
    assert Execution.of(execution, results="results", device="auto", jobs=2) is execution
