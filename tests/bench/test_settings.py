import shlex

import pytest

from depthbench.bench.settings import DIGITS_BATCH, Settings
from depthbench.errors import BadInput

FLAGS = {
    "depths": "20,8,20", "digits": "8", "device": "cpu", "jobs": None, "precision": "fp32", "repeats": 5,
    "seconds": None, "batch_size": 128,
}  # fmt: skip


def test_each_depth_is_a_case_once_in_the_given_order():
    cases = Settings.checked(**FLAGS).cases()
    assert [(case.name, case.batch_size) for case in cases] == [
        ("resnet-20", 128),
        ("resnet-8", 128),
        ("digits-8", DIGITS_BATCH),
    ]


def test_the_command_repeats_the_benchmark():
    settings = Settings.checked(**FLAGS | {"digits": "none", "seconds": 0.5})
    words = shlex.split(settings.command("cpu", jobs=2, seconds=0.5))[2:]
    flags = {
        flag.removeprefix("--").replace("-", "_"): word
        for flag, word in zip(words[::2], words[1::2], strict=True)
    }
    assert flags == {
        "depths": "20,8", "digits": "none", "device": "cpu", "jobs": "2", "precision": "fp32", "repeats": "5",
        "seconds": "0.5", "batch_size": "128",
    }  # fmt: skip
    numbers = {"jobs": 2, "repeats": 5, "seconds": 0.5, "batch_size": 128}
    again = Settings.checked(**flags | numbers)
    assert again.cases() == settings.cases()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"jobs": 65}, "--jobs 65: should be 1 to 64"),
        ({"batch_size": 1}, "--batch-size 1: should be 2 to 50000"),
        ({"depths": ","}, "--depths ,: use a list of depths"),
        ({"digits": "9"}, "--digits: depth 9 is not 6n"),
    ],
)
def test_unusable_flags_are_errors(flags, message):
    with pytest.raises(BadInput, match=message):
        Settings.checked(**FLAGS | flags)
