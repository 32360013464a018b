"""The results of one run so far: a history row for each logged step, and the probed values of each layer.

Sums and probed values stay on the device until they are fetched, all at once. A fetch waits for the device,
and a GPU is idle after such a wait."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress, islice
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor

from depthbench.machine.precision import widest_float
from depthbench.probes.columns import NOT_MEASURED, ROW_COLUMNS, SELECTED_BY, USE
from depthbench.probes.rows import Row
from depthbench.training.step import means
from depthbench.training.tracker import Tracker

if TYPE_CHECKING:
    import pandas as pd

ERROR_COLUMNS = {"train": "train_error_eval", "test": "test_error", "val": "val_error"}
"""Set of images -> the column of its error (percent) in evaluation mode."""


LOSS_COLUMNS = {"train": "train_loss_eval", "test": "test_loss", "val": "val_loss"}
"""Set -> the column of its mean loss (nats per token) in evaluation mode. Only next-token runs have them."""

Reader = Callable[[list[float]], Mapping[str, float]]


def read_sums(sums: list[float]) -> dict[str, float]:
    """Compute the values of a row from `Step.take_sums`."""
    loss, train_error = means(sums)
    return {"loss": loss, "train_error": train_error}


@dataclass(frozen=True)
class _Pending:
    """A row that waits for numbers from the device."""

    row: dict[str, Any]
    numbers: Tensor
    read: Reader


class Records:
    """The history and the probed values. `rows` are the known rows. Other rows wait for their numbers."""

    def __init__(self, rows: Sequence[Row], probes: Sequence[str]):
        self._rows_probed, self._probes = list(rows), list(probes)
        self.rows: list[dict[str, Any]] = []
        self.tracker = Tracker()
        self.has_diverged = False
        """Whether the loss of the last row is infinite or not a number."""
        self._pending: list[_Pending] = []
        self._fetched = time.perf_counter()
        self._probed_steps: list[int] = []
        self._probed_values: list[Tensor] = []  # (rows, probes) each, on the device
        self._measured: list[np.ndarray] = []  # whether each of them was measured

    @property
    def last_step(self) -> int:
        """The step of the newest row, known or waiting. 0 before the first row."""
        newest = self._pending[-1].row if self._pending else self.rows[-1] if self.rows else {"step": 0}
        return newest["step"]

    @property
    def waited(self) -> float:
        """Seconds since the last fetch."""
        return time.perf_counter() - self._fetched

    def add(self, row: dict[str, Any], numbers: Tensor, read: Reader = read_sums) -> None:
        """Add a row, and the numbers (n,) from which the rest of it is computed. They may be on a device.

        `read` computes values of the row from them, by default from those of `Step.take_sums`."""
        self._pending.append(_Pending(row, numbers, read))

    def number(self, rows: Sequence[Row]) -> None:
        """Replace the numbers and stages of the rows, for all steps. `rows` are otherwise the same."""
        self._rows_probed = list(rows)

    def add_probed(self, step: int, values: Tensor, is_measured: np.ndarray | None = None) -> None:
        """Add the values (rows, probes) of a probed step, and whether each was measured. None: all were."""
        self._probed_steps.append(step)
        self._probed_values.append(values)
        self._measured.append(np.ones(values.shape, bool) if is_measured is None else is_measured)

    def fetch(self) -> list[dict[str, Any]]:
        """Fetch the numbers of the waiting rows, in one sync with the device. Return these rows.

        A row whose loss is not finite is the last of the run. Later rows are dropped."""
        self._fetched = time.perf_counter()
        if not self._pending:
            return []
        numbers = iter(torch.cat([pending.numbers for pending in self._pending]).tolist())
        pending, self._pending = self._pending, []
        known = len(self.rows)
        for each in pending:
            row, read = each.row, each.read(list(islice(numbers, len(each.numbers))))
            self.rows.append(row)
            if math.isfinite(read.get("loss", 0.0)):
                row |= read
                self.tracker.see(row)
                continue
            # an evaluation used weights that are not finite; the errors that a loop logged are kept
            evaluated = (*ERROR_COLUMNS.values(), *LOSS_COLUMNS.values())
            row |= {**{column: math.nan for column in evaluated if column in row}, **read}
            self.has_diverged = True
            self._drop_after(row["step"])
            break
        return self.rows[known:]

    def _drop_after(self, step: int) -> None:
        kept = sum(probed < step for probed in self._probed_steps)
        self._probed_steps, self._probed_values = self._probed_steps[:kept], self._probed_values[:kept]
        self._measured = self._measured[:kept]

    def layers(self) -> "pd.DataFrame":
        """Return the probed values as a table with a row for each probed step and row of the recorder.

        `probes.columns` describes the columns. Only layers that were used more than once have rows of single
        uses."""
        import pandas as pd

        values = self._values()
        shape = (len(self._probed_steps), len(self._rows_probed), len(self._probes))
        numbers = np.zeros(shape) if values is None else values.numpy()
        measured = np.stack(self._measured) if self._measured else np.ones(shape, bool)
        kept = self._kept_rows(measured)
        rows = [self._rows_probed[index] for index in kept]
        steps = len(self._probed_steps)
        flat = numbers[:, kept].reshape(steps * len(rows), shape[2])
        was_measured: np.ndarray = measured[:, kept].reshape(steps * len(rows), shape[2])
        of_rows = (
            np.repeat(np.array(self._probed_steps, dtype=np.int64), len(rows)),
            np.tile(np.array([row.layer for row in rows], dtype=np.int64), steps),
            [row.name for row in rows] * steps,
            [row.stage for row in rows] * steps,
        )
        table: dict[str, Any] = dict(zip(ROW_COLUMNS, of_rows, strict=True))
        frame = pd.DataFrame(table | {name: flat[:, i] for i, name in enumerate(self._probes)})
        if not was_measured.all():
            frame[NOT_MEASURED] = [",".join(compress(self._probes, ~row)) for row in was_measured]
        if any(row.selected_by for row in rows):
            frame[SELECTED_BY] = [",".join(row.selected_by) for row in rows] * steps
        if any(row.use is not None for row in rows):
            frame[USE] = pd.array([row.use for row in rows] * steps, dtype="Int64")
        return frame

    def _kept_rows(self, measured: np.ndarray) -> list[int]:
        """Return the indices of the rows to store, in their order. `measured`: (steps, rows, probes)."""
        is_measured: np.ndarray = np.asarray(measured.any(axis=(0, 2)))
        repeated = {
            row.layer
            for row, is_known in zip(self._rows_probed, is_measured, strict=True)
            if row.use and is_known
        }
        kept = [
            index
            for index, row in enumerate(self._rows_probed)
            if row.use is None or (row.layer in repeated and is_measured[index])
        ]
        return sorted(kept, key=self._place)

    def _place(self, index: int) -> tuple[bool, bool, int, int]:
        """Return the key by which the rows of a step are sorted: layers, their single uses, then others."""
        row = self._rows_probed[index]
        return bool(row.selected_by), row.use is not None, row.layer, row.use or 0

    def _values(self) -> Tensor | None:
        """Return all probed values (steps, rows, probes) in host memory, or None before the first ones."""
        return torch.stack(self._probed_values).cpu() if self._probed_values else None

    def resume(self, tables: Mapping[str, "pd.DataFrame"], step: int, device: torch.device) -> None:
        """Go back to the stored `tables` (history and layers) of this run, as they were after `step` updates.

        Raises ValueError if they have other layers, modules or parameters."""
        rows = cast("list[dict[str, Any]]", tables["history"].to_dict("records"))
        self.rows = [row for row in rows if row["step"] <= step]
        for row in self.rows:
            self.tracker.see(row)
        layers = tables["layers"]
        layers = layers[layers["step"] < step]
        missing: dict[str, Any] = {SELECTED_BY: "", USE: -1, NOT_MEASURED: ""}
        layers = layers.assign(**{name: missing[name] for name in missing if name not in layers})
        keys = list(zip(layers["name"], layers[SELECTED_BY], layers[USE].fillna(-1), strict=True))
        indices = {
            (row.name, ",".join(row.selected_by), -1 if row.use is None else row.use): index
            for index, row in enumerate(self._rows_probed)
        }
        needed = {key for key in indices if key[2] == -1}
        if keys and not needed <= set(keys) <= indices.keys():
            raise ValueError("its rows are of other layers, modules or parameters")
        shape = (len(self._rows_probed), len(self._probes))
        for probed, part in layers.assign(row=[indices[key] for key in keys]).groupby("step"):
            values, measured = np.full(shape, np.nan), np.zeros(shape, bool)
            values[part["row"]] = part[self._probes]
            unmeasured = [set(names.split(",")) for names in part[NOT_MEASURED]]
            measured[part["row"]] = [[name not in each for name in self._probes] for each in unmeasured]
            self.add_probed(
                cast("int", probed), torch.tensor(values, dtype=widest_float(device), device=device), measured
            )

    def state(self) -> dict[str, Any]:
        """Return everything, for a checkpoint. Call `fetch` first, so that no row waits."""
        return {
            "rows": self.rows,
            "probed_steps": self._probed_steps,
            "probed_values": self._values(),
            "measured": [torch.from_numpy(measured) for measured in self._measured],
            "tracker": self.tracker.state(),
        }

    def restore(self, state: dict[str, Any], device: torch.device) -> None:
        """Go back to `state`. Raises ValueError if the version that stored it measured other layers."""
        values = state["probed_values"]
        shape = (len(self._rows_probed), len(self._probes))
        if values is not None and values.shape[1:] != shape:
            raise ValueError(f"the state has values of the shape {tuple(values.shape[1:])}, not {shape}")
        self.rows, self._probed_steps = list(state["rows"]), list(state["probed_steps"])
        self._probed_values = [] if values is None else list(values.to(device))
        self._measured = [measured.numpy() for measured in state["measured"]]
        self.tracker.restore(state["tracker"])
