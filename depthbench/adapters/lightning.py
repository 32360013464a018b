"""A callback for Lightning's Trainer."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from depthbench.adapters.metrics import Metrics
from depthbench.adapters.steps import Steps
from depthbench.watching.log import COLUMNS

OF_BATCHES = ("train_error",)
"""Columns whose metrics are read after each update. The others are read after each validation."""
OF_VALIDATION = tuple(column for column in COLUMNS if column not in OF_BATCHES)


class DepthbenchCallback(Callback):
    """Measure the layers of a LightningModule while it trains, and store the results in `path`.

    >>> callback = DepthbenchCallback("results/mine", name="my-net", metrics={"val_error": "val_err"})
    >>> Trainer(callbacks=[callback]).fit(module, loader)

    metrics: column of the history (see `Watch.log`) -> the name under which the module logs it. Errors are in
    percent. A line on stderr names those that the module has not logged by the end of the first validation
    (`train_error`: of training). options: those of `depthbench.watch`.

    The loss is what `training_step` returns. A step is one update, even if it accumulates several batches.
    Raises BadInput for an unknown column, and as `depthbench.watch` does."""

    def __init__(self, path: str | Path, metrics: Mapping[str, str] | None = None, **options: Any):
        self.steps = Steps(path, **options)
        self.metrics = Metrics(metrics)
        self._updates = 0
        self._losses: list[Tensor] = []  # of the batches of this step
        self._rate: float | None = None  # of this step; schedulers change that of the optimiser after it

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        planned = trainer.estimated_stepping_batches
        steps = int(planned) if math.isfinite(planned) else None
        model = trainer.strategy.model or pl_module
        self._updates = trainer.global_step
        self.steps.begin(model, trainer.global_step, name=type(pl_module).__name__, steps=steps)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *batch: Any) -> None:
        self.steps.begin_step()
        self._rate = None

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        if trainer.optimizers and self._rate is None:
            self._rate = float(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *batch: Any
    ) -> None:
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if isinstance(loss, Tensor):
            self._losses.append(loss.detach())
        if trainer.global_step == self._updates:
            return  # still accumulating gradients
        self._updates = trainer.global_step
        self.steps.end_step()
        values: dict[str, Any] = (
            {"loss": sum(self._losses)} if self._losses else {}
        )  # each batch returns its share
        self._losses.clear()
        if self._rate is not None:
            values["lr"] = self._rate
        self.steps.log(**values, **self.metrics.values_of(trainer.callback_metrics, OF_BATCHES))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self.steps.log(**self.metrics.values_of(trainer.callback_metrics, OF_VALIDATION))
            self.steps.say(self.metrics.missing(OF_VALIDATION))

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.steps.fail(exception)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.steps.say(self.metrics.missing())
        self.steps.end()
