"""The values that a loop logs. They stay on their device until they are fetched."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from depthbench.errors import BadInput, nearest
from depthbench.machine.precision import widest_float
from depthbench.training.records import ERROR_COLUMNS, Records

MEANS = ("loss", "train_error")
"""Columns that hold the mean of the values since the last row. The others hold the last value."""
LAST = ("epoch", "lr", *ERROR_COLUMNS.values())
COLUMNS = ("epoch", "lr", *MEANS, *ERROR_COLUMNS.values())

ROUNDING = 1e-3
"""How far the mean of errors (%) on a device may be outside 0 to 100."""

Value = float | Tensor


class Log:
    """Logged values, which become rows of `records`.

    A row is made every `every` steps, and at each evaluation, i.e. when a column of ERROR_COLUMNS is logged.
    It has everything that was logged at its step, however often, and is made at a later step or by `flush`.
    every: steps between rows. None: 10, or a five-hundredth of the steps so far if that is more."""

    def __init__(self, records: Records, device: torch.device, every: int | None = None):
        self.records, self.device, self.every = records, device, every
        self.problem: BadInput | None = None
        """A value that turned out to be impossible when its row was fetched."""
        self._values: dict[str, list[Value]] = {}
        self._step = 0
        """The step at which the last of these values was logged."""
        self._is_evaluation = False
        """Whether one of these values is that of an evaluation."""

    def add(self, step: int, values: Mapping[str, Any]) -> None:
        """Log values after `step` updates. Raises BadInput for an unknown name or an impossible value."""
        checked = check(values)
        if step != self._step:
            self.flush()
        for name, value in checked.items():
            if name in MEANS:
                self._values.setdefault(name, []).append(value)
            else:
                self._values[name] = [value]
        errors = (checked[name] for name in ERROR_COLUMNS.values() if name in checked)
        self._is_evaluation |= any(isinstance(error, Tensor) or not math.isnan(error) for error in errors)
        self._step = step

    def flush(self) -> None:
        """Make the row of the step at which values were logged last, if it is due."""
        every = self.every or max(10, self._step // 500)
        if self._values and (self._is_evaluation or self._step - self.records.last_step >= every):
            self.end_row(self._step)

    def end_row(self, step: int) -> None:
        """Make a row from the values logged since the last one. Does not wait for a device."""
        row: dict[str, Any] = {"step": step, **dict.fromkeys(COLUMNS, math.nan)}
        known: dict[str, float] = {}
        waiting: dict[str, Tensor] = {}
        for name, values in self._values.items():
            on_host = [value for value in values if not isinstance(value, Tensor)]
            tensors = [value for value in values if isinstance(value, Tensor)]
            known[name] = sum(on_host) / len(values)
            if tensors:
                waiting[name] = (self._sum(tensors) + sum(on_host)) / len(values)
        self._values.clear()
        self._is_evaluation = False
        none = torch.zeros(0, dtype=widest_float(self.device), device=self.device)
        numbers = torch.stack(list(waiting.values())) if waiting else none
        self.records.add(row, numbers, lambda fetched: known | self._read(step, waiting, fetched))

    def _read(self, step: int, names: Iterable[str], fetched: Iterable[float]) -> dict[str, float]:
        """Return fetched values by name. An error outside 0 to 100 % becomes NaN and a `problem`."""
        values = dict(zip(names, fetched, strict=True))
        for name, value in values.items():
            if _is_no_percentage(name, value, ROUNDING):
                values[name] = math.nan
                self.problem = self.problem or BadInput(
                    f"watch: log({name}={value:g}) at step {step}: should be in percent, 0 to 100"
                )
        return values

    def _sum(self, tensors: Sequence[Tensor]) -> Tensor:
        dtype = widest_float(self.device)
        if len({(tensor.device, tensor.dtype) for tensor in tensors}) > 1:
            tensors = [tensor.to(self.device, dtype) for tensor in tensors]
        return torch.stack(list(tensors)).to(self.device, dtype).sum()


def check(values: Mapping[str, Any]) -> dict[str, Value]:
    """Return numbers, and copies of tensors with one number. Raises BadInput for anything else."""
    return {name: _checked(name, value) for name, value in values.items()}


def _checked(name: str, value: Any) -> Value:
    """Return a number, or a copy of a tensor with one number. Raises BadInput for anything else."""
    if name not in COLUMNS:
        raise BadInput(f"watch: log({name}=...): {nearest(name, COLUMNS, 'values')}")
    if isinstance(value, Tensor | np.ndarray):
        if math.prod(value.shape) != 1:
            kind = "a tensor" if isinstance(value, Tensor) else "an array"
            shape = "x".join(map(str, value.shape))
            raise BadInput(f"watch: log({name}=...) is {kind} of shape {shape}; pass one number")
        if isinstance(value, Tensor) and (value.is_complex() or value.dtype == torch.bool):
            raise BadInput(f"watch: log({name}=...) is a tensor of {value.dtype}; pass a real number")
        if isinstance(value, Tensor) and value.device.type != "cpu":  # do not wait for the device
            return value.detach().reshape(()).clone()
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int | float | np.floating | np.integer):
        raise BadInput(f"watch: log({name}={value!r}): should be a number")
    try:
        number = float(value)
    except OverflowError:  # of an integer
        raise BadInput(f"watch: log({name}=...): is larger than any float") from None
    if name in ("epoch", "lr") and number < 0:
        raise BadInput(f"watch: log({name}={number:g}): should be at least 0")
    if _is_no_percentage(name, number):
        raise BadInput(f"watch: log({name}={number:g}): should be in percent, 0 to 100")
    return number


def _is_no_percentage(name: str, number: float, tolerance: float = 0.0) -> bool:
    """Return whether a value is an error (%) outside 0 to 100."""
    is_error = name.endswith(("error", "error_eval"))
    return is_error and not (math.isnan(number) or -tolerance <= number <= 100 + tolerance)
