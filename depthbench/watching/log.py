"""The values that a loop logs. They stay on their device until they are fetched."""

import math
from collections.abc import Mapping, Sequence
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

Value = float | Tensor


class Log:
    """Logged values, which become rows of `records`.

    A row is made every `every` steps, and at each evaluation, i.e. when a column of ERROR_COLUMNS is logged.
    every: steps between rows. None: 10, or a five-hundredth of the steps so far if that is more."""

    def __init__(self, records: Records, device: torch.device, every: int | None = None):
        self.records, self.device, self.every = records, device, every
        self._values: dict[str, list[Value]] = {}

    def add(self, step: int, values: Mapping[str, Any]) -> None:
        """Log values after `step` updates. Raises BadInput for an unknown name or an impossible value."""
        for name, value in values.items():
            checked = _checked(name, value)
            if name in MEANS:
                self._values.setdefault(name, []).append(checked)
            else:
                self._values[name] = [checked]
        is_evaluation = any(name in values for name in ERROR_COLUMNS.values())
        if is_evaluation or step - self.records.last_step >= (self.every or max(10, step // 500)):
            self.end_row(step)

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
        none = torch.zeros(0, dtype=widest_float(self.device), device=self.device)
        numbers = torch.stack(list(waiting.values())) if waiting else none
        self.records.add(row, numbers, lambda values: known | dict(zip(waiting, values, strict=True)))

    def _sum(self, tensors: Sequence[Tensor]) -> Tensor:
        dtype = widest_float(self.device)
        if len({(tensor.device, tensor.dtype) for tensor in tensors}) > 1:
            tensors = [tensor.to(self.device, dtype) for tensor in tensors]
        return torch.stack(list(tensors)).to(self.device, dtype).sum()


def _checked(name: str, value: Any) -> Value:
    """Return a number, or a copy of a tensor with one number. Raises BadInput for anything else."""
    if name not in COLUMNS:
        raise BadInput(f"watch: log({name}=...): {nearest(name, COLUMNS, 'values')}")
    if isinstance(value, Tensor):
        if value.numel() != 1 or value.is_complex():
            shape = "x".join(map(str, value.shape))
            raise BadInput(f"watch: log({name}=...) is a tensor of shape {shape}; pass one number")
        if value.device.type != "cpu":  # do not wait for the device
            return value.detach().reshape(()).clone()
        value = value.item()
    elif isinstance(value, bool) or not isinstance(value, int | float | np.number | np.ndarray):
        raise BadInput(f"watch: log({name}={value!r}): should be a number")
    number = float(value)
    if name.endswith(("error", "error_eval")) and not (math.isnan(number) or 0 <= number <= 100):
        raise BadInput(f"watch: log({name}={number:g}): should be in percent, 0 to 100")
    return number
