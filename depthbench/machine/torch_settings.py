"""The settings of torch that hold for a whole process, which the code of a plug-in could change."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from depthbench.errors import BadInput


class Setting(NamedTuple):
    """A setting that changes what torch computes in the whole process."""

    call: str
    """How code sets it, after `torch.`"""
    initial: Any
    """The value with which torch starts."""
    read: Callable[[Any], Any]
    """A function of the module torch."""
    write: Callable[[Any, Any], Any]
    """A function of the module torch and a value."""
    is_refused: bool = True
    """Whether code that changes it is refused. Otherwise the setting is only restored."""


def _flag_of_cudnn(name: str) -> Setting:
    return Setting(
        f"backends.cudnn.{name}",
        False,
        lambda torch: getattr(torch.backends.cudnn, name),
        lambda torch, value: setattr(torch.backends.cudnn, name, value),
        is_refused=False,
    )


SETTINGS = {
    "default dtype": Setting(
        "set_default_dtype",
        "float32",
        lambda torch: str(torch.get_default_dtype()).removeprefix("torch."),
        lambda torch, value: torch.set_default_dtype(getattr(torch, value)),
    ),
    "default device": Setting(
        "set_default_device",
        "cpu",
        lambda torch: str(torch.get_default_device()),
        lambda torch, value: torch.set_default_device(None if value == "cpu" else value),
    ),
    "grad mode": Setting(
        "set_grad_enabled",
        True,
        lambda torch: torch.is_grad_enabled(),
        lambda torch, value: torch.set_grad_enabled(value),
    ),
    "deterministic mode": Setting(
        "use_deterministic_algorithms",
        0,
        lambda torch: torch.get_deterministic_debug_mode(),
        lambda torch, value: torch.set_deterministic_debug_mode(value),
        is_refused=False,
    ),
    "flag cudnn.deterministic": _flag_of_cudnn("deterministic"),
    "flag cudnn.benchmark": _flag_of_cudnn("benchmark"),
}


@contextlib.contextmanager
def torch_settings_kept(who: str, error: type[BadInput] = BadInput) -> Iterator[None]:
    """Restore torch's settings at the end of this context.

    Raises `error` if code in it has changed one of SETTINGS on which its networks may rely. Other settings,
    which scripts often change for speed or equal results, and the number of threads are only restored. who:
    the code, in words. If the context imports torch, its settings are compared with those that torch starts
    with."""
    torch: Any = sys.modules.get("torch")
    before = {name: each.read(torch) if torch else each.initial for name, each in SETTINGS.items()}
    threads = torch.get_num_threads() if torch else None
    changed: dict[str, Any] = {}
    try:
        yield
    finally:
        torch = sys.modules.get("torch")
        for name, setting in SETTINGS.items() if torch else ():
            if (now := setting.read(torch)) != before[name]:
                if setting.is_refused:
                    changed[name] = now
                setting.write(torch, before[name])
        if threads is not None and torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
    for name, now in changed.items():
        raise error(
            f"{who} changes torch's {name} from {before[name]} to {now} for the whole process "
            f"(torch.{SETTINGS[name].call}); set it back in the same function, or leave it out"
        )
