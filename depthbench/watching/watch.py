"""Measure a user's training loop and store it as a run: `depthbench.watch`."""

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
import torch.distributed as dist
from torch import nn

from depthbench.errors import BadInput
from depthbench.machine.environment import describe_environment
from depthbench.networks.cost import count_parameters
from depthbench.networks.layers import Layer, depth_of, outside_of_layers, weighted_layers
from depthbench.networks.lazy import is_lazy
from depthbench.probes import DEFAULT, PROBES
from depthbench.probes.settings import Probe
from depthbench.registry import look_up
from depthbench.store.record import Environment, Hashes, Record, Status
from depthbench.study.file import build
from depthbench.study.watched import UNKNOWN_DATA, WatchedRun
from depthbench.training.building import hash_weights
from depthbench.training.records import Records
from depthbench.training.trainer import FETCH_SECONDS, NO_LAYER
from depthbench.watching.log import Log, check
from depthbench.watching.recorder import LoopRecorder
from depthbench.watching.stored import StoredRun
from depthbench.watching.wrappers import Subject, subject_of

SAVE_SECONDS = 30.0
"""Shortest time between two saves of the results so far. Saves also take at most 1 % of the time."""


def watch(
    model: nn.Module,
    path: str | Path,
    *,
    name: str | None = None,
    depth: int | None = None,
    seed: int = 0,
    steps: int | None = None,
    probes: Sequence[str] | None = None,
    every: int | None = None,
    probe_steps: Sequence[int] | None = None,
    each_use: int | None = None,
    log_every: int | None = None,
    classes: int | None = None,
    data: str | None = None,
    residual: bool | None = None,
    twin: str | None = None,
    overwrite: bool = False,
    steps_made: int = 0,
    process_group: "dist.ProcessGroup | None" = None,
) -> "Watch":
    """Measure the layers of `model` in a training loop of your own, and store the results in `path`.

    >>> watch = depthbench.watch(model, "results/mine", name="my-net", depth=50, seed=0)
    >>> for x, y in loader:
    ...     with watch.step():
    ...         loss = criterion(model(x), y)
    ...         loss.backward()
    ...         optimizer.step()
    ...         optimizer.zero_grad()
    ...     watch.log(loss=loss, train_error=error_in_percent)
    >>> watch.close()

    A step is one update of the weights. Its block contains all forward and backward passes of the update
    (several if gradients are accumulated), clipping and the call of the optimiser. Hooks exist only in probed
    steps and, if gradients are compared (`grad_cosine`), in the step before. `report`, `compare`, `show` and
    `load_results` read `path` like any results directory. Several networks, depths and seeds can share it,
    also at the same time.

    - path: directory or URL of the results. It is created if needed.
    - name: name of the network. Default: its class.
    - depth: depth of the network. Default: its number of weighted layers. The four projections of a module of
      attention count once.
    - seed: distinguishes runs of the same network and depth.
    - steps: planned number of updates, if known. The last step is then probed as well. If the run makes more,
      a message says so, and the record has the actual number.
    - probes: names from `depthbench list probes`. Default: the four that `depthbench run` measures, too.
    - probe_steps: steps to probe. Default: 0, 1, 2, 5, 10, 20, 50, ...
    - every: also probe every N steps.
    - each_use: also store the first N uses of each layer that a step uses several times.
    - log_every: steps between rows of the history. Default: 10, or more in a long run.
    - classes: number of classes, which determines the chance error.
    - data: name of the images.
    - residual: whether the network has residual connections.
    - twin: name of the network in `path` that differs only in its residual connections.
    - overwrite: whether to replace a run of the same name, depth and seed that is finished or has rows.
    - steps_made: updates that the model already has, if the loop resumes from a checkpoint. An unfinished run
      keeps its rows up to there and goes on.
    - process_group: the processes that average gradients, if the model is neither DistributedDataParallel nor
      sharded with fully_shard.

    Gradients are those of the update: averaged over the processes, divided by the scale of a GradScaler, and
    before clipping. dL/dz and responses cover every use of a layer in the step, also in several backward
    passes (root sum of squares). Passes in `torch.no_grad()`, e.g. an evaluation, are not uses. Compiled
    models run uncompiled in probed steps. run.json lists layers without a value, with the reason.

    Raises BadInput for an unknown name or impossible value, a model whose layers cannot be measured, a
    directory with other results or settings, a run that is finished or has rows without `overwrite`, and a
    run that another process writes."""
    try:
        subject = subject_of(model, process_group)
        layers = layers_of(subject.network)
    except RecursionError:
        raise BadInput(
            "watch: the modules of the model are nested too deeply for Python; call its layers in a loop, or "
            "raise sys.setrecursionlimit"
        ) from None
    run = build(
        WatchedRun,
        {
            "network": type(subject.network).__name__ if name is None else name,
            "depth": depth_of(layers) if depth is None else depth,
            "seed": seed,
            "steps": steps,
            "classes": classes,
            "data": UNKNOWN_DATA if data is None else data,
            "residual": residual,
            "twin": twin,
            "probe": build(
                Probe,
                {
                    "names": list(
                        DEFAULT if probes is None else [probes] if isinstance(probes, str) else probes
                    ),
                    "every": every,
                    "each_use": each_use,
                    "steps": None if probe_steps is None else list(probe_steps),
                },
                "watch: probe",
            ),
        },
        "depthbench.watch",
    )
    return Watch(subject, run, path, log_every=log_every, overwrite=overwrite, steps_made=steps_made)


def layers_of(network: nn.Module) -> list[Layer]:
    """Return the weighted layers of a network. Raises BadInput if it has none, or has no memory yet."""
    parameters = list(network.parameters())
    if is_lazy(network):
        raise BadInput("watch: the model has lazy layers; call it with a batch first")
    if any(parameter.is_meta for parameter in parameters):
        raise BadInput("watch: the parameters are on the meta device; initialise them first")
    try:
        return weighted_layers(network)
    except ValueError as error:
        raise BadInput(f"watch: {error}") from None


class Watch:
    """A run in a user's training loop. `watch` makes it.

    If an exception leaves its `with` block or its last step, the run is stored as failed, with the reason, or
    as interrupted if a user stopped it."""

    def __init__(
        self,
        subject: Subject,
        run: WatchedRun,
        path: str | Path,
        *,
        log_every: int | None,
        overwrite: bool,
        steps_made: int,
    ):
        if steps_made < 0:
            raise BadInput(f"watch: steps_made = {steps_made}: should be at least 0")
        if log_every is not None and log_every < 1:
            raise BadInput(f"watch: log_every = {log_every}: should be at least 1")
        self.run, self.subject, self.path = run, subject, path
        self.steps_made = steps_made
        """The number of updates so far."""
        device = next(subject.network.parameters()).device
        probes = {name: look_up(PROBES, "probe", name).load() for name in run.probe.names}
        self._recorder = LoopRecorder(subject, probes, run.probe.each_use or 0)
        self._records = Records(self._recorder.rows, run.probe.names)
        self._log = Log(self._records, device, log_every)
        self._fetch_seconds = 0.0 if device.type == "cpu" else FETCH_SECONDS
        self._is_open, self._is_in_step = True, False
        self._has_told_divergence = False
        self._raised: BaseException | None = None  # by the last step
        self._outer = sys.exception()  # handled around this loop, e.g. where it is a second attempt
        self._saved, self._save_seconds = time.perf_counter(), 0.0
        initial_weights = hash_weights(subject.network)  # all processes must call this
        facts = {
            "steps": run.steps,
            "num_classes": run.classes,
            "chance_error": run.chance_error,
            "parameters": count_parameters(subject.network),
            "weighted_layers": depth_of(self._recorder.layers),
            "layer_order": self._recorder.numbered_by,
            "hashes": Hashes() if steps_made else Hashes(initial_weights=initial_weights),
            "environment": Environment(**describe_environment(device, torch.get_num_threads())),
        }
        record = Record.of(run, **facts)
        self._stored = StoredRun(
            run,
            record,
            self._records,
            numbered_as=self._recorder.numbered_as,
            ranks=subject.ranks,
            started=self._saved,
        )
        self._stored.unmeasured |= dict.fromkeys(outside_of_layers(subject.network), NO_LAYER)
        with self._agreed():
            if subject.writes:
                self._stored.open(path, steps_made=steps_made, overwrite=overwrite, device=device)

    @contextlib.contextmanager
    def _agreed(self) -> Iterator[None]:
        """Run the block. If it raises BadInput in the process that writes, all processes raise it."""
        problem: BadInput | None = None
        try:
            yield
        except BadInput as error:
            problem = error
        if self.subject.group is not None:
            texts = [None if problem is None else str(problem)]
            dist.broadcast_object_list(texts, group=self.subject.group, group_src=0)
            problem = None if texts[0] is None else BadInput(texts[0])
        if problem is not None:
            raise problem

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if error is None:
            self.close()
        elif self._is_open:
            self._end(_status_after(error), error)

    @contextlib.contextmanager
    def step(self) -> Iterator[None]:
        """Make a context around one update. It counts as a step unless its block raises.

        Raises BadInput within another step and after `close`."""
        self._check_open("step")
        if self._is_in_step:
            raise BadInput("watch: step() is called within a step; end that one first")
        self._is_in_step = True
        self._log.flush()
        index = self.steps_made
        try:
            if not self._must_measure(index):
                yield
            else:
                probed, keeps = self._is_probed(index), self._is_probed(index + 1)
                with self._recorder.measuring(probed=probed, keeps=keeps):
                    yield
                if self._recorder.result is not None:
                    self._add_probed(index)
        except BaseException as error:
            self._raised = error
            if self._is_open:
                self._stored.save(_status_after(error), self.steps_made, error)
            raise
        finally:
            self._is_in_step = False
        self._raised = None  # the loop went on after an exception that it caught
        self.steps_made += 1
        if self.steps_made - 1 == self.run.steps:
            self._stored.say(
                f"{self.run.run_id} makes more updates than steps={self.run.steps} states; all are recorded, "
                "but the last one is probed only if it is due"
            )
        self._keep_up()

    def _is_probed(self, index: int) -> bool:
        last = None if self.run.steps is None else self.run.steps - 1
        return self.run.probe.is_due(index, last)

    def _must_measure(self, index: int) -> bool:
        return self._is_probed(index) or (self._recorder.compares_gradients and self._is_probed(index + 1))

    def _add_probed(self, index: int) -> None:
        values = self._recorder.result
        assert values is not None
        self._stored.unmeasured |= self._recorder.reasons
        if not self.has_diverged:
            self._records.add_probed(index, values, self._recorder.is_measured)
            self._records.number(self._recorder.rows)

    def log(self, **values: Any) -> None:
        """Log numbers or tensors with one number, after a step.

        Names: loss, train_error (of the batches), train_error_eval, test_error and val_error (in
        evaluation mode), lr and epoch. Errors are in percent. A row of the history has the mean loss
        and train error since the row before, and the last value of the others. `log` can be called
        several times after a step. After a row with a loss that is not finite, nothing more is
        stored. Tensors stay on their device until rows are fetched. If several processes train
        together, the history has what the first process logs, e.g. the loss of its part of the batch.
        Average a value over the processes before you log it, if you need that.

        Raises BadInput for an unknown name, for an error outside 0 to 100, before the first step, and after
        `close`. The value of a tensor on a GPU is checked when its row is fetched: `step` or `close` raises
        then, and the history has NaN in its place."""
        self._check_open("log")
        if not self.steps_made:
            raise BadInput("watch: log() is called before the first step; call it after one")
        if not self.has_diverged:
            self._log.add(self.steps_made, values)
            return
        check(values)
        if not self._has_told_divergence:
            self._has_told_divergence = True
            self._stored.say(f"{self.run.run_id} has diverged: what is logged from now on is not stored")

    @property
    def has_diverged(self) -> bool:
        """Whether a row of the history has a loss that is infinite or not a number. That row is the last.

        A row is known after the next step, or on a GPU after the first step that ends 2 seconds or more
        after rows were last fetched."""
        return self._records.has_diverged

    def close(self) -> None:
        """Store the run as done, or as diverged if a loss was infinite or not a number.

        Without any step, it is stored as interrupted. If the last step raised, or `close` is called while an
        exception is handled (in `finally` or `except`), it is stored as failed with that reason, or as
        interrupted if a user stopped it. Does nothing if called again. Raises OSError if the results cannot
        be written, and BadInput for an impossible value (see `log`)."""
        if not self._is_open:
            return
        handled = sys.exception()
        error = self._raised if handled in (None, self._outer) else handled
        if error is not None:
            self._end(_status_after(error), error)
            return
        try:
            self._fetch(ends=True)
        except BadInput as error:
            self._end("failed", error)
            raise
        if self.has_diverged:
            status: Status = "diverged"
        else:
            status = "done" if self.steps_made else "interrupted"
        self._end(status)

    def _end(self, status: Status, error: BaseException | None = None) -> None:
        self._is_open = False
        try:
            with contextlib.suppress(BadInput) if error else contextlib.nullcontext():  # the first one counts
                self._fetch(ends=True)
            self._stored.save(status, self.steps_made, error, must_succeed=error is None)
        finally:
            self._stored.unlock()

    def _check_open(self, method: str) -> None:
        if not self._is_open:
            raise BadInput(f"watch: {method}() is called after close()")

    def _keep_up(self) -> None:
        """Fetch rows and save the results if enough time has passed."""
        if self._records.waited >= self._fetch_seconds:
            self._fetch()
        now = time.perf_counter()
        if now - self._saved > max(SAVE_SECONDS, 100 * self._save_seconds):
            self._stored.save("interrupted", self.steps_made)
            self._saved = time.perf_counter()
            self._save_seconds = self._saved - now

    def _fetch(self, *, ends: bool = False) -> None:
        """Fetch the waiting rows. At the end, the last step gets a row.

        Raises BadInput, once, if a logged value turns out to be impossible."""
        records = self._records
        if ends and self.steps_made and not self.has_diverged:
            self._log.flush()
            if records.last_step < self.steps_made:
                self._log.end_row(self.steps_made)
        records.fetch()
        problem, self._log.problem = self._log.problem, None
        if problem is not None:
            raise problem


def _status_after(error: BaseException) -> Status:
    """Return the status of a run after an exception: interrupted if a user stopped the loop, else failed."""
    return "failed" if isinstance(error, Exception | SystemExit) else "interrupted"
