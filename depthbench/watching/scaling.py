"""Notice the scale that a GradScaler gives the loss."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from torch.amp import GradScaler

Scale = Callable[[GradScaler, Any], Any]
Receiver = Callable[[GradScaler, Scale], None]

MARK = "_notifies_depthbench"
_receivers: dict[object, Receiver] = {}


@contextmanager
def noticing_scale(receive: Receiver) -> Iterator[None]:
    """Call `receive` whenever an enabled scaler scales something. Contexts can overlap and end in any order.

    `receive` gets the scaler and its method `scale`, without this notice. If a subclass calls `scale` of its
    base class, the last call of `receive` has the method of the subclass. The methods of GradScaler and of
    its subclasses stay wrapped. Outside of these contexts, the wrappers do nothing else."""
    _wrap(GradScaler)
    key = object()
    _receivers[key] = receive
    try:
        yield
    finally:
        del _receivers[key]


def _wrap(scaler: type[GradScaler]) -> None:
    """Wrap the method of a class and of its subclasses, where they define one."""
    own = vars(scaler).get("scale")
    if own is not None and not hasattr(own, MARK):
        scaler.scale = _notifying(own)  # type: ignore[method-assign, assignment]
    for subclass in scaler.__subclasses__():
        _wrap(subclass)


def _notifying(original: Scale) -> Scale:
    @wraps(original)
    def scale(scaler: GradScaler, outputs: Any) -> Any:
        scaled = original(scaler, outputs)
        if scaler.is_enabled():
            for receive in list(_receivers.values()):
                receive(scaler, original)
        return scaled

    setattr(scale, MARK, True)
    return scale
