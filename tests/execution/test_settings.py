from pathlib import Path

import pytest

from depthbench import run_study
from depthbench.errors import BadInput
from depthbench.events import Silent
from depthbench.execution.settings import Execution


def test_single_settings_make_one_object():
    chosen = Execution.of(None, results="elsewhere", device="cpu", data_dir="~/images")
    assert chosen == Execution(Path("elsewhere"), device="cpu", data_dir=Path("~/images"))


def test_an_object_is_used_if_no_setting_contradicts_it():
    execution = Execution(Path("elsewhere"), jobs=2)
    assert Execution.of(execution, results="results", device="auto", jobs=2) is execution


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"results": "here"}, "results = here: `execution` has another value; set it there"),
        ({"jobs": 3, "step": "eager"}, "jobs = 3, step_mode = eager: `execution` has another value"),
        ({"fresh": True}, "fresh = True: `execution` has another value"),
        ({"display": Silent(), "watch": object()}, "give `display` or `watch`, not both"),
    ],
)
def test_contradictory_arguments_of_run_study_are_refused(tiny, tmp_path, arguments, message):
    with pytest.raises(BadInput, match=message):
        run_study(tiny(), execution=Execution(tmp_path / "elsewhere", jobs=2), **arguments)
    assert not any(tmp_path.iterdir())
