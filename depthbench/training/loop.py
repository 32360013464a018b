"""Run -> record: train one network once, measure its errors and layers, and store both as training goes."""

import contextlib
import math
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

import torch

from depthbench.data.labelled import Labelled
from depthbench.events import Activity, Alive, Event, Note, Progressed, RowLogged
from depthbench.machine.environment import describe_environment
from depthbench.networks.cost import count_parameters
from depthbench.networks.eager import NOTE as UNCOMPILED
from depthbench.networks.layers import depth_of
from depthbench.store.record import (
    Environment,
    Final,
    Hashes,
    HowExecuted,
    Record,
    ScaledBranches,
    Status,
    Timing,
    WeightsFile,
)
from depthbench.store.run_store import RunStore
from depthbench.study.model import Run
from depthbench.training import checkpoint
from depthbench.training.keeping import WEIGHTS, file_at
from depthbench.training.mode import TrainingMode
from depthbench.training.pace import Meter, step_on_slow_cpu
from depthbench.training.team import ALONE, Team
from depthbench.training.trainer import Trainer
from depthbench.training.weights import save_weights

PROGRESS_SECONDS = 1.0

Steps = Generator[None, None, Record]


def train(
    run: Run,
    images: Labelled,
    store: RunStore,
    mode: TrainingMode,
    *,
    data_hash: str,
    emit: Callable[[Event], None] = lambda event: None,
    should_stop: Callable[[], bool] = lambda: False,
    team: Team = ALONE,
) -> Steps:
    """Train `run` on `images` to its end, from its checkpoint if it has one, and store it.

    This is a generator that pauses after each update, so that several runs can take turns in one process,
    each as if it were alone. It returns the record that run.json then holds. `finish` runs it to its end.

    `emit` receives RowLogged, Progressed, Alive, Note and Activity events. `should_stop` is called before
    each step. When it returns True, the state is saved and the run is `interrupted`. Raises BadInput as
    `Trainer` does.

    Each process of `team` calls this with the same run and mode, and all return the same record. Only rank 0
    reads or writes `store`. All stop if `should_stop` returns True on any rank. If a process dies, the others
    raise PeerLost, after rank 0 has stored the run as `interrupted` with its state after the last complete
    step; on a GPU, the state is that of the last checkpoint."""
    resumed = _resume(run, images, store, mode=mode, team=team)
    with contextlib.closing(resumed.trainer):
        record = _first_record(resumed.trainer, images, data_hash)
        progress = _Progress(resumed.trainer, store, record, emit, should_stop, mode)
        progress.start(resumed)
        try:
            status = yield from progress.train()
            return progress.end(status)
        except RuntimeError as error:
            loss = team.loss_of(error)
            if loss is None:
                raise
            progress.end_without_peers(str(loss))
            raise loss from error


@dataclass
class _Resumed:
    """A trainer in its initial state or in a stored one."""

    trainer: Trainer
    is_resumed: bool = False
    note: str | None = None
    """What the user should know of the state."""


def _resume(run: Run, images: Labelled, store: RunStore, *, mode: TrainingMode, team: Team) -> _Resumed:
    """Return a trainer in the newest stored state that is undamaged and fits the run.

    Rank 0 of a team reads the states and sends each that it tries to the others."""
    threads = torch.get_num_threads()
    resumed = _Resumed(Trainer(run, images, mode, team=team))

    def use(state: checkpoint.State) -> None:
        problem: Exception | None = None
        try:
            resumed.trainer.restore(state)
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            problem = error
        if team.any(problem is not None):  # a part of the state is restored already
            torch.set_num_threads(threads)
            resumed.trainer.close()
            resumed.trainer = Trainer(run, images, mode, team=team)
            raise checkpoint.Unusable(f"does not fit the run ({type(problem).__name__})") from problem
        resumed.is_resumed = True

    def send_and_use(state: checkpoint.State) -> None:
        use(team.broadcast(state))

    try:
        note = None
        if team.writes:
            note = checkpoint.restore(store.checkpoint, run.run_id, send_and_use)
            team.broadcast(None)  # no more states
        else:
            while (state := team.broadcast(None)) is not None:
                with contextlib.suppress(checkpoint.Unusable):
                    use(state)
    except BaseException:
        resumed.trainer.close()
        raise
    if note is None and resumed.is_resumed:
        note = f"resuming from step {resumed.trainer.step}"
    elif note is None and team.writes and store.record_file.exists():
        note = "starting again from step 0: the earlier attempt stored no checkpoint"
    if torch.get_num_threads() != threads:
        note = f"{note}, with {torch.get_num_threads()} threads as before, not {threads}"
    resumed.note = note
    return resumed


def finish(steps: Steps) -> Record:
    """Run the generator of `train` to its end, and return the record of its run."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


@dataclass
class _Progress:
    """A run in progress and its stored results."""

    trainer: Trainer
    store: RunStore
    record: Record
    emit: Callable[[Event], None]
    should_stop: Callable[[], bool]
    mode: TrainingMode
    first_step: int = field(init=False)
    """The step that this process started from."""
    _started: float = field(init=False)
    """The time at which the run would have started if it had never stopped."""
    _began: float = field(init=False)
    """The time at which this process started to train."""
    _saved: float = field(init=False)
    """The time of the last checkpoint."""
    _meter: Meter = field(init=False)
    _progressed: float = field(init=False)
    """The time of the last Progressed event."""
    _alive: float = field(init=False)
    """The time of the last Alive event."""
    _has_reported_step_mode: bool = field(init=False, default=False)
    _has_reported_probes: bool = field(init=False, default=False)

    def start(self, resumed: _Resumed) -> None:
        """Store the first record, and start the clocks."""
        if resumed.note is not None:
            self._emit_note(resumed.note)
        if self.trainer.is_streamed:
            self._emit_note(self.trainer.placement)
        if self.trainer.is_uncompiled:
            self._emit_note(UNCOMPILED)
        for note in self.trainer.optimizer_notes:
            self._emit_note(note)
        environment = Environment(**describe_environment(self.trainer.device, torch.get_num_threads()))
        self.record = self.record.changed(environment=environment)
        if resumed.is_resumed and self.trainer.team.writes:
            earlier = _earlier_environments(self.store, environment)
            kept = _earlier_weights(self.store, self.trainer.step)
            self.record = self.record.changed(earlier_environments=earlier, weights=kept)
        self._write_record()
        self.first_step = self.trainer.step
        self._began = time.perf_counter()
        self._started = self._began - self.trainer.seconds
        self._saved = self._progressed = self._alive = time.perf_counter()
        self._meter = self._make_meter()
        self._emit_alive()

    def train(self) -> Generator[None, None, Status]:
        """Train until the run ends or should stop, and return its status."""
        status = self._ending()  # a stored state can be a finished one
        while status is None:
            if self.trainer.row_is_due:
                status = self._log_row()
            elif self._should_stop():
                status = "interrupted"
            else:
                self.trainer.advance()
                self._update_seconds()
                self._report_step_mode()
                if not self._has_reported_probes:
                    self._report_probes()
                if self.mode.keep_weights.is_due(self.trainer.step):
                    self._keep_weights(file_at(self.trainer.step))
                if time.perf_counter() - self._progressed > PROGRESS_SECONDS:
                    self._emit_progress()
                if self._save_is_due:
                    self._save_state()
                    self._saved = time.perf_counter()
                    status = self._ending()  # saving fetched rows, and one may show a divergence
                yield
        return status

    @property
    def _save_is_due(self) -> bool:
        """Whether it is time for a checkpoint. Saving sends nothing, so the other ranks need not know.

        Pushing checkpoints to a URL takes at most a tenth of the time."""
        interval = max(self.mode.checkpoint_seconds, 9 * self.store.push_seconds)
        return self.trainer.team.writes and time.perf_counter() - self._saved > interval

    def end(self, status: Status) -> Record:
        """Run the final evaluations, store the run with its status, and return its record."""
        if status == "done":
            if not self.trainer.evaluate_finally(self._should_stop, self._emit_activity):
                status = "interrupted"
            self._update_seconds()
        self.record = self.record.changed(status=status)
        if not self.trainer.team.writes:
            self._update_record()
            return self.record
        if self.record.is_finished:
            for name, table in self.trainer.final_tables(is_diverged=status == "diverged").items():
                self.store.write_frame(name, table)
            self.record = self.record.changed(keeps_checkpoint=self.mode.keep_checkpoint)
        if status == "done":
            self._keep_last_weights()
        if status == "interrupted" or self.mode.keep_checkpoint:
            self._save_state()
        else:
            self._store_results()
            checkpoint.remove(self.store.checkpoint)
            self.store.push()
        return self.record

    def end_without_peers(self, reason: str) -> None:
        """Store the run as `interrupted`, after another process of the team was lost."""
        if not self.trainer.team.writes:
            return
        self.record = self.record.changed(status="interrupted", reason=reason)
        if self.trainer.undo_step():
            self._save_state()
        else:
            self.store.write(self.record)

    def _log_row(self) -> Status | None:
        """Log the row of this step, and return the status that it ends the run with, if any."""
        if self.trainer.evaluation_is_due:
            self._emit_activity(f"evaluating at step {self.trainer.step}")
        rows = self.trainer.log(self._should_stop)
        self._update_seconds()
        if rows is None:
            return "interrupted"
        if not rows:
            return None
        newest = rows[-1]
        if self.mode.keep_weights.which == "best" and self.trainer.records.tracker.is_best(newest["step"]):
            self._keep_weights(WEIGHTS)
        event = RowLogged(
            run=self.trainer.run,
            step=newest["step"],
            steps=self.trainer.run.steps,
            first_step=self.first_step,
            loss=newest["loss"],
            train_error=newest["train_error"],
            test_error=newest["test_error"],
            images_per_second=self.trainer.rate,
        )
        self.emit(event)
        self._emit_progress()
        return self._ending()

    def _ending(self) -> Status | None:
        """Return the status that the newest known row ends the run with, if any."""
        records, run = self.trainer.records, self.trainer.run
        if not records.rows:
            return None
        if not math.isfinite(records.rows[-1]["loss"]):
            return "diverged"
        patience = run.recipe.patience
        has_stalled = patience is not None and records.tracker.evaluations_without_progress >= patience
        return "done" if has_stalled or records.rows[-1]["step"] == run.steps else None

    def _update_seconds(self) -> None:
        trainer = self.trainer
        trainer.seconds = time.perf_counter() - self._started
        self._meter.see(trainer.step, trainer.seconds - trainer.evaluating, trainer.evaluating)

    def _make_meter(self) -> Meter:
        trainer = self.trainer
        test_images = len(trainer.sets["test"][1])
        return Meter(
            trainer.run,
            images=sum(len(y) for _, y in trainer.sets.values()),
            final_images=trainer.final_evaluations.passes * test_images,
            step=trainer.step,
            seconds=trainer.seconds - trainer.evaluating,
            evaluating=trainer.evaluating,
            evaluations=sum(not math.isnan(row["test_error"]) for row in trainer.records.rows),
            longest_step=step_on_slow_cpu(trainer.run, self.record.multiply_adds or 0),
        )

    def _should_stop(self) -> bool:
        """Return whether the run should stop. Called before each step and between batches of evaluations."""
        if time.perf_counter() - self._alive > PROGRESS_SECONDS:
            self._emit_alive()
        return self.trainer.team.any(self.should_stop())

    def _emit_alive(self) -> None:
        self.emit(Alive(self.trainer.run, self.trainer.step, self._meter.longest_step))
        self._alive = time.perf_counter()

    def _emit_progress(self) -> None:
        trainer = self.trainer
        event = Progressed(
            run=trainer.run,
            step=trainer.step,
            first_step=self.first_step,
            seconds=time.perf_counter() - self._began,
            seconds_left=self._meter.seconds_left,
        )
        self.emit(event)
        self._progressed = time.perf_counter()

    def _report_step_mode(self) -> None:
        """Emit a note, once, if steps are not made in the requested mode."""
        if self.trainer.step_note is not None and not self._has_reported_step_mode:
            self._emit_note(self.trainer.step_note)
            self._has_reported_step_mode = True

    def _report_probes(self) -> None:
        """Emit a note on what probes do not measure, once, after the first probed step of this process."""
        note = self.trainer.probe_note
        if note is not None and not self._has_reported_probes:
            self._emit_note(note)
        self._has_reported_probes = True

    def _save_state(self) -> None:
        """Save the state and then the results, so that a kill in between loses nothing."""
        began = time.perf_counter()
        self._emit_alive()  # saving may take long, and must not look like a stall
        checkpoint.save(self.store.checkpoint, self.trainer.state())
        self._emit_alive()
        self._store_results()
        self._meter.longest_step = max(self._meter.longest_step, time.perf_counter() - began)
        self._emit_alive()

    def _keep_last_weights(self) -> None:
        """Keep the weights of a run that is done, unless those of its best evaluation are kept."""
        keep = self.mode.keep_weights.which
        kept = self.record.weights.get(WEIGHTS)
        best = Final(**self.trainer.final(None)).chosen_step if keep == "best" else None
        if best is not None and best != self.trainer.step:
            if kept is not None and kept.step != best:  # it was interrupted under another setting
                others = {name: file for name, file in self.record.weights.items() if name != WEIGHTS}
                self.record = self.record.changed(weights=others)
                (self.store.path / WEIGHTS).unlink(missing_ok=True)
                self._emit_note(f"the weights of the best step, {best}, were not kept at that step")
        elif keep != "none":
            self._keep_weights(WEIGHTS)

    def _keep_weights(self, name: str) -> None:
        """Write the weights of this step to a file, which the next record names."""
        if not self.trainer.team.writes:
            return
        record = self.record
        facts = {
            "run_id": record.run_id,
            "run": record.run,
            "classes": record.classes,
            "image_shape": record.image_shape,
        }
        try:
            digest = save_weights(self.store.path / name, self.trainer.weights(facts))
        except ValueError as error:
            self._emit_note(f"the weights of step {self.trainer.step} are not kept: {error}")
            self.record = record.changed(no_weights=str(error))
            return
        kept = {**record.weights, name: WeightsFile(step=self.trainer.step, sha256=digest)}
        self.record = record.changed(weights=kept)

    def _store_results(self) -> None:
        """Write the tables, and run.json last."""
        self.store.write_rows(self.trainer.records.rows, self.trainer.records.layers())
        if self.trainer.coordinates is not None:
            self.store.write_frame("coordinates", self.trainer.coordinates.table())
        self._write_record()

    def _write_record(self) -> None:
        """Store the record of the run so far."""
        self._update_record()
        if self.trainer.team.writes:
            self.store.write(self.record)

    def _update_record(self) -> None:
        trainer = self.trainer
        self.record = self.record.changed(
            hashes=self.record.hashes.changed(batches=trainer.batches_hash),
            step=trainer.step,
            final=Final(**trainer.final(self._final_chance())),
            execution=HowExecuted(**trainer.execution),
            tables=self.store.written,
            timing=Timing(
                seconds=round(trainer.seconds, 3),
                evaluating_seconds=round(trainer.evaluating, 3),
                images_per_second=round(trainer.rate, 1),
                peak_memory=trainer.peak_memory.bytes,
                peak_memory_of=trainer.peak_memory.of,
            ),
        )

    def _final_chance(self) -> float | None:
        """Return the error that a diverged run counts with, or None for other runs."""
        return self.record.chance_error if self.record.status == "diverged" else None

    def _emit_note(self, text: str) -> None:
        self.emit(Note(text, self.trainer.run))

    def _emit_activity(self, text: str) -> None:
        self.emit(Activity(self.trainer.run, text))


def _first_record(trainer: Trainer, images: Labelled, data_hash: str) -> Record:
    """Return the record of a run before its first step."""
    record = Record.of(
        trainer.run,
        steps=trainer.run.steps,
        num_classes=len(images.classes),
        classes=tuple(images.classes),
        image_shape=tuple(images.shape),
        val_images=0 if images.val_y is None else len(images.val_y),
        chance_error=images.chance_error,
        parameters=count_parameters(trainer.network),
        multiply_adds=trainer.count_multiply_adds(images.shape),
        weighted_layers=depth_of(trainer.recorder.layers),
        layer_order=trainer.recorder.numbered_by,
        skipped_images=len(images.skipped),
        hashes=Hashes(initial_weights=trainer.initial_weights, data=data_hash),
    )
    if images.predicts is not None:
        record = record.changed(predicts=images.predicts)
    scaled = trainer.scaled_branches
    return record if scaled is None else record.changed(scaled_branches=ScaledBranches(**scaled))


def _earlier_weights(store: RunStore, step: int) -> dict[str, WeightsFile]:
    """Return the files of weights that a run kept up to `step`, from which it is resumed."""
    before = store.read()
    kept = {} if before is None else before.weights
    return {name: file for name, file in kept.items() if file.step <= step}


def _earlier_environments(store: RunStore, now: Environment) -> tuple[Environment, ...]:
    before = store.read()
    return () if before is None else before.environments_before(now)
