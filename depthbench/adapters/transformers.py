"""A callback for the Trainer of Hugging Face."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch.distributed as dist
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from depthbench.adapters.metrics import Metrics
from depthbench.adapters.steps import Steps

LOGGED = {"loss": "loss", "learning_rate": "lr", "epoch": "epoch"}
"""Name in the logs of a Trainer -> column of the history."""


class DepthbenchCallback(TrainerCallback):
    """Measure the layers of a model while a Trainer trains it, and store the results in `path`.

    >>> callback = DepthbenchCallback("results/mine", name="my-net", metrics={"val_error": "eval_err"})
    >>> with callback:
    ...     Trainer(model, arguments, train_dataset=data, callbacks=[callback]).train()

    The `with` block stores the run as failed if training raises. A Trainer does not notify its callbacks.

    metrics: column of the history (see `Watch.log`) -> name of an evaluation metric. Errors are in percent.
    A line on stderr names those that the first evaluation lacks. options: those of `depthbench.watch`.

    Loss and learning rate are those that the Trainer logs every `logging_steps` updates. Raises BadInput for
    an unknown column, and as `depthbench.watch` does."""

    def __init__(self, path: str | Path, metrics: Mapping[str, str] | None = None, **options: Any):
        self.steps = Steps(path, **options)
        self.metrics = Metrics(metrics)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if error is not None:
            self.steps.fail(error)

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        *,
        model: nn.Module,
        **others: Any,
    ) -> None:
        group = dist.group.WORLD if args.world_size > 1 and dist.is_initialized() else None
        self.steps.begin(model, state.global_step, steps=state.max_steps, process_group=group)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        self.steps.begin_step()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        self.steps.end_step()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        *,
        logs: Mapping[str, Any],
        **others: Any,
    ) -> None:
        if "loss" in logs:  # absent after an evaluation and at the end of training
            self.steps.log(**{column: float(logs[name]) for name, column in LOGGED.items() if name in logs})

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        *,
        metrics: Mapping[str, float],
        **others: Any,
    ) -> None:
        self.steps.log(**self.metrics.values_of(metrics))
        self.steps.say(self.metrics.missing())

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        self.steps.say(self.metrics.missing())
        self.steps.end()
