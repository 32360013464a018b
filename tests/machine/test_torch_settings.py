import subprocess
import sys

import pytest
import torch

from depthbench.errors import BadInput
from depthbench.machine.torch_settings import SETTINGS, torch_settings_kept

CHANGES = {
    "default dtype from float32 to float64 for the whole process (torch.set_default_dtype)": (
        lambda: torch.set_default_dtype(torch.float64)
    ),
    "default device from cpu to meta": lambda: torch.set_default_device("meta"),
    "grad mode from True to False": lambda: torch.set_grad_enabled(False),
}
RESTORED = ("deterministic mode", "flag cudnn.deterministic", "flag cudnn.benchmark")


def current():
    return {name: setting.read(torch) for name, setting in SETTINGS.items()}


def change_and_fail(change):
    change()
    raise ZeroDivisionError


@pytest.mark.parametrize(("message", "change"), CHANGES.items())
def test_a_changed_setting_is_restored_and_named(message, change):
    before = current()
    with pytest.raises(BadInput) as error, torch_settings_kept("its builder"):
        change()
    assert str(error.value).startswith(f"its builder changes torch's {message}")
    assert current() == before
    with pytest.raises(ZeroDivisionError), torch_settings_kept("its builder"):
        change_and_fail(change)
    assert current() == before


def test_every_setting_has_the_value_with_which_torch_starts():
    """In a new process, because others change them."""
    code = (
        "import torch; from depthbench.machine.torch_settings import SETTINGS; "
        "print([name for name, each in SETTINGS.items() if each.read(torch) != each.initial])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
    assert len(CHANGES) + len(RESTORED) == len(SETTINGS)


@pytest.mark.parametrize("name", RESTORED)
def test_a_setting_that_scripts_often_change_is_only_restored(name):
    before = current()
    with torch_settings_kept("its builder"):
        SETTINGS[name].write(torch, not before[name])
        assert current() != before
    assert current() == before


def test_the_number_of_threads_is_restored_without_an_error():
    threads = torch.get_num_threads()
    with torch_settings_kept("it"):
        torch.set_num_threads(threads + 1)
    assert torch.get_num_threads() == threads
