"""The logits in what a network returns."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor


def logits_of(output: Any) -> Tensor:
    """Return the logits (B, num_classes) in the output of a network.

    They are the output itself, its entry or attribute `logits`, or the first of several outputs in a tuple,
    list or dict, as in networks with auxiliary heads. Raises TypeError for any other output."""
    if isinstance(output, Tensor):
        return output
    logits = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", None)
    if logits is None and isinstance(output, tuple | list | Mapping) and output:
        logits = next(iter(output.values() if isinstance(output, Mapping) else output))
    if isinstance(logits, Tensor):
        return logits
    found = f"returns {describe_output(output)}"
    if logits is None:
        raise TypeError(f"{found}, in which no logits can be found")
    raise TypeError(
        f"{found}, where {describe_place(output)} should be a tensor of logits but is "
        f"{describe_output(logits)}"
    )


def describe_output(output: Any) -> str:
    """Return what kind of object a network returned, e.g. "a dict with the keys a, b"."""
    kind = type(output).__name__
    article = "an" if kind[:1].lower() in "aeiou" else "a"
    fields = getattr(output, "_fields", ())  # of a named tuple
    if isinstance(output, Mapping) and not output:
        return f"an empty {kind}"
    if isinstance(output, Mapping):
        return f"{article} {kind} with the keys {', '.join(map(str, output))}"
    if isinstance(output, tuple) and fields:
        return f"{article} {kind} with the fields {', '.join(map(str, fields))}"
    return f"{article} {kind}"


def describe_place(output: Any) -> str:
    """Return which part of an output with several parts `logits_of` takes: its `logits`, or the first."""
    if isinstance(output, Mapping):
        return "`logits`" if output.get("logits") is not None else f"`{next(iter(output))}`"
    if isinstance(output, tuple | list) and getattr(output, "logits", None) is None:
        return "its first element"
    return "`logits`"


def has_other_parts(output: Any) -> bool:
    """Return whether an output has parts besides the logits. An object whose parts are unknown may have."""
    return not isinstance(output, tuple | list | Mapping) or len(output) > 1


def describe_shape(shape: Sequence[int]) -> str:
    """Return how many numbers a tensor of a shape has, e.g. "4x10 numbers"."""
    return f"{'x'.join(map(str, shape))} numbers" if len(shape) else "one number"
