"""`run(config, directory)`: from a configuration to a record, through any number of interruptions."""

from __future__ import annotations

import datetime
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

from resnet_jax.config import ExperimentConfig
from resnet_jax.data.batches import epoch_ends, epochs_done, training_batches
from resnet_jax.errors import UserError
from resnet_jax.models import summary
from resnet_jax.record import (
    RECORD_FILE,
    WEIGHTS,
    Cost,
    DataFacts,
    Final,
    GradientLine,
    MetricsLine,
    RunRecord,
    Sitting,
)
from resnet_jax.training import state as state_lib
from resnet_jax.training.checkpoint import Checkpoints, identity
from resnet_jax.training.directory import RunDirectory
from resnet_jax.training.environment import describe
from resnet_jax.training.export import weights_of
from resnet_jax.training.gradients import by_layer
from resnet_jax.training.metrics import StepReport, Totals
from resnet_jax.training.progress import Display, Silent
from resnet_jax.training.recompute import recompute
from resnet_jax.training.setup import STEPS_AHEAD, Setup, check_machine, prepare
from resnet_jax.training.state import TrainState
from resnet_jax.weights import files


class Interrupted(KeyboardInterrupt):
    """The run was asked to stop; its checkpoint is on the disk. The message says how to go on."""


class _Diverged(Exception):
    """The loss is not a finite number after the step that is the argument."""


def run(
    config: ExperimentConfig,
    directory: Path,
    *,
    study: str,
    display: Display | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> RunRecord:
    """Trains as `config` says and leaves a record in `directory`; goes on where an interrupted run stopped.

    Args:
      config: of the run.
      directory: the run directory; its last part is the run's name. A finished run's record is returned as it is.
      study: what the run belongs to, for the record.
      display: is told of progress.
      stop: asked after every step; once True, a checkpoint is written and Interrupted raised.

    Raises:
      UserError: a directory of another configuration or in use by another process, missing data, too few devices.
      OSError: the directory cannot be written.
      Interrupted: `stop` said so.
    """
    if not (directory / RECORD_FILE).exists():
        check_machine(config)  # before the directory is made: a mistake leaves nothing behind
    with RunDirectory(directory, config) as place:
        finished = place.record()
        if finished is not None:
            return finished
        try:
            sitting = _Sitting(place, study, display or Silent(), stop)
        except UserError:
            place.abandon()
            raise
        return sitting.go()


class _Sitting:
    """One sitting of a run: steps, and tells the run of it."""

    def __init__(self, place: RunDirectory, study: str, display: Display, stop: Callable[[], bool]) -> None:
        self.display, self.stop = display, stop
        self.started = time.monotonic()
        self.config = place.config
        self.setup: Setup = prepare(self.config, display.note)
        self.run = _Run(place, study, self.setup, display.note)
        self.pending: deque[tuple[int, Any]] = deque()
        self.images_per_second = 0.0
        # Since when, and since which step, training has gone on without an evaluation between.
        self.mark, self.marked_step = self.started, 0

    def go(self) -> RunRecord:
        """Trains to the end, or to the first loss that is not a number."""
        self._announce()
        try:
            first, state = self._start()
            try:
                state = self._train(first, state)
                return self._finish(state)
            except _Diverged as diverged:
                (step,) = diverged.args
                self.run.place.append_timing(step=step, train_s=time.monotonic() - self.mark)
                self.display.note(f"{self.run.place.path.name}: the loss is not finite at step {step}; run ended.")
                return self.run.end(None, None, step)
        finally:
            self.run.checkpoints.close()

    def _announce(self) -> None:
        setup, model, dataset = self.setup, self.setup.config.model, self.setup.dataset
        parameters = state_lib.count_parameters(setup.initial.params)
        name = dataset.name.split(",")[0]  # the numbers of images, which a reduced set has in its name, come first here
        self.display.note(
            f"{model.net}-{model.depth}, {parameters:,} parameters; {len(dataset.train):,} training and "
            f"{len(dataset.test):,} test images of {name} {setup.place}"
        )
        self.display.note(setup.table())

    def _start(self) -> tuple[int, TrainState]:
        """The number of steps done before, and the state after them, on the devices."""
        state = self.run.restore()
        step = int(state.step)
        self.run.rewind(step)
        setup_s = time.monotonic() - self.started - self.setup.compile_s
        here, parallel = describe(self.setup.devices), self.config.parallel
        sitting = Sitting(step, parallel.mode, parallel.devices, here.device, here.cpu_cores, here.code)
        self.run.place.append_timing(
            sitting=asdict(sitting), step=step, setup_s=setup_s, compile_s=self.setup.compile_s
        )
        return step, self.setup.put(state)

    def _train(self, first: int, state: TrainState) -> TrainState:
        """From the state after `first` steps to that after the last."""
        c, examples = self.config.train, len(self.setup.dataset.train)
        batches = training_batches(seed=self.config.seed, examples=examples, batch_size=c.batch_size, first_step=first)
        self.mark, self.marked_step = time.monotonic(), first
        for step in range(first + 1, c.iterations + 1):
            state, report = self.setup.train(state, next(batches))
            self.pending.append((step, report))
            self._drain(STEPS_AHEAD)
            epoch = epochs_done(step, examples=examples, batch_size=c.batch_size)
            last = step == c.iterations
            if last and c.recompute_batch_stats:
                state = recompute(self.setup, state)
            if last or epoch > epochs_done(step - 1, examples=examples, batch_size=c.batch_size):
                self._end_epoch(epoch, step, state)
            if last or (c.checkpoint_steps and step % c.checkpoint_steps == 0):
                self._drain(0)
                self.run.save(self.setup.fetch(state))
            if not last and self.stop():
                self._interrupt(state, step, time.monotonic() - self.mark)
        return state

    def _end_epoch(self, epoch: int, step: int, state: TrainState) -> None:
        """Evaluates where it is due and writes a line."""
        self._drain(0)
        train_s = time.monotonic() - self.mark
        c, last = self.config.train, step == self.config.train.iterations
        watched = "validation" if self.setup.dataset.validation else "test"
        due = last or (c.eval_every > 0 and epoch % c.eval_every == 0)
        self.run.seen = {}
        for split in sorted({watched, "test"} if last else {watched}) if due else ():
            self._evaluate(state, split, step)
        self.display.line(self.run.line(epoch, step), self.images_per_second)
        self.run.place.append_timing(step=step, train_s=train_s, eval_s=time.monotonic() - self.mark - train_s)
        self.mark, self.marked_step = time.monotonic(), step

    def _evaluate(self, state: TrainState, split: str, step: int) -> None:
        totals = self.setup.evaluate(state, split)
        self.run.seen[split] = totals
        if not math.isfinite(totals.loss):
            raise _Diverged(step)  # by the last update, before the next step's loss could tell

    def _drain(self, leave: int) -> None:
        """Takes in the reports of steps that are done, in order, and waits while more than `leave` are not."""
        while self.pending and (len(self.pending) > leave or self.pending[0][1].sums.loss.is_ready()):
            step, report = self.pending.popleft()
            if not self._records_gradient(step):
                report = report._replace(gradient_norms=None)  # it stays where it is
            host = self.setup.devices.fetch(report)
            if not math.isfinite(float(host.sums.loss)):
                raise _Diverged(step)
            self.run.take(step, host)
            batch = Totals()
            batch.add(host.sums)
            seconds = max(time.monotonic() - self.mark, 1e-9)
            self.images_per_second = (step - self.marked_step) * self.config.train.batch_size / seconds
            self.display.step(
                step,
                rate=self.run.rate,
                loss=batch.mean_loss,
                error=batch.error,
                images_per_second=self.images_per_second,
            )

    def _records_gradient(self, step: int) -> bool:
        every = self.config.train.gradient_norms_every
        return every > 0 and (step - 1) % every == 0

    def _interrupt(self, state: TrainState, step: int, train_s: float) -> None:
        self._drain(0)
        self.run.save(self.setup.fetch(state))
        self.run.checkpoints.wait()
        self.run.place.append_timing(step=step, train_s=train_s)
        raise Interrupted(
            f"interrupted at step {step} of {self.config.train.iterations}, checkpoint kept in {self.run.place.path}; "
            f"the same command goes on from there."
        )

    def _finish(self, state: TrainState) -> RunRecord:
        """Errors of the state of the last step on every split, those of its line not computed again; the record."""
        start, step = time.monotonic(), self.config.train.iterations
        for split in ["train", "test"] + ["validation"] * (self.setup.dataset.validation is not None):
            if split not in self.run.seen:
                self._evaluate(state, split, step)
        self.run.place.append_timing(step=step, eval_s=time.monotonic() - start)
        return self.run.end(self.run.final(), self.setup.fetch(state), None)


class _Run:
    """What a run keeps on the host: directory, checkpoints, sums, lines, record."""

    def __init__(self, place: RunDirectory, study: str, setup: Setup, tell: Callable[[str], None]) -> None:
        self.config, self.place, self.study, self.setup = place.config, place, study, setup
        self.initial, self.tell = setup.initial, tell
        self.checkpoints = Checkpoints(
            place.checkpoints,
            keep=self.config.train.keep_checkpoints,
            keep_every=self.config.train.keep_every,
            # A file of the same name with other weights in it would make another run.
            run=identity(self.config) | ({"finetune.digest": setup.start.digest} if setup.start else {}),
            tell=tell,
        )
        self.totals = Totals()
        self.seen: dict[str, Totals] = {}
        """By split, at the last line."""
        self.rate = 0.0

    def restore(self) -> TrainState:
        """The state to go on from, on the host."""
        restored = self.checkpoints.restore(self.initial, self.setup.dataset.fingerprint)
        if restored is None:
            return self.initial
        state: TrainState
        state, self.totals = restored
        self.tell(f"{self.place.path.name}: going on from the checkpoint of step {int(state.step)}.")
        return state

    def rewind(self, step: int) -> None:
        """Drops the lines after `step`."""
        c, examples = self.config.train, len(self.setup.dataset.train)
        written = epoch_ends(step, examples=examples, batch_size=c.batch_size)
        if step == c.iterations and step not in written:
            written.append(step)
        self.place.rewind_metrics(step, written)
        if c.gradient_norms_every:
            self.place.rewind_gradients(step, range(0, step, c.gradient_norms_every))

    def take(self, step: int, report: StepReport) -> None:
        """Adds a step's report, on the host, and writes the line of its gradient where it has one."""
        self.totals.add(report.sums)
        self.rate = float(report.rate)
        if report.gradient_norms is not None:
            norms = self.setup.from_layout(report.gradient_norms)
            layers = by_layer(norms, self.setup.config.model, self.setup.dataset.image_shape)
            self.place.append_gradients(GradientLine(step - 1, layers))

    def line(self, epoch: int, step: int) -> MetricsLine:
        """Writes the line of an epoch, and begins the next."""
        test, validation = self.seen.get("test"), self.seen.get("validation")
        line = MetricsLine(
            epoch=epoch,
            step=step,
            learning_rate=float(f"{self.rate:.6g}"),  # as configured, not as float32 rounds it
            running_loss=self.totals.mean_loss,
            running_error=self.totals.error,
            test_loss=test.mean_loss if test else None,
            test_error=test.error if test else None,
            validation_loss=validation.mean_loss if validation else None,
            validation_error=validation.error if validation else None,
        )
        self.place.append_metrics(line)
        self.totals = Totals()
        return line

    def save(self, state: TrainState) -> None:
        """Begins to write a checkpoint of a state on the host."""
        self.checkpoints.save(state, self.totals, self.setup.dataset.fingerprint)

    def final(self) -> Final:
        """Of what was seen of the last step."""
        train, test, validation = self.seen["train"], self.seen["test"], self.seen.get("validation")
        return Final(
            step=self.config.train.iterations,
            train_loss=train.mean_loss,
            train_error=train.error,
            train_examples=train.examples,
            test_loss=test.mean_loss,
            test_error=test.error,
            test_examples=test.examples,
            validation_loss=validation.mean_loss if validation else None,
            validation_error=validation.error if validation else None,
            validation_examples=validation.examples if validation else None,
        )

    def end(self, final: Final | None, state: TrainState | None, diverged_at: int | None) -> RunRecord:
        """Writes the net and the record, once the checkpoints are written: the run has ended."""
        self.checkpoints.wait()
        if state is not None:
            files.save(weights_of(self.setup, state, self.place.path.name), self.place.path / WEIGHTS)
        record = self._record(final, state, diverged_at)
        self.place.finish(record)
        return record

    def _record(self, final: Final | None, state: TrainState | None, diverged_at: int | None) -> RunRecord:
        setup, dataset = self.setup, self.setup.dataset
        whole = summary.total(setup.config.model, dataset.image_shape)
        params = self.initial.params
        assert whole.parameters == state_lib.count_parameters(params), "the formula disagrees with the net"
        return RunRecord(
            study=self.study,
            run=self.place.path.name,
            status="diverged" if final is None else "finished",
            config=self.config,
            data=DataFacts(
                name=dataset.name,
                fingerprint=dataset.fingerprint,
                image_shape=dataset.image_shape,
                num_classes=dataset.num_classes,
                train_examples=len(dataset.train),
                test_examples=len(dataset.test),
            ),
            parameters=whole.parameters,
            multiply_adds=whole.multiply_adds,
            initial_fingerprint=state_lib.fingerprint(params),
            final=final,
            diverged_at_step=diverged_at,
            environment=describe(setup.devices),
            cost=self._cost(diverged_at or self.config.train.iterations),
            final_fingerprint=state_lib.fingerprint(state.params) if state is not None else None,
            sittings=tuple(Sitting(**line["sitting"]) for line in self._sittings()),
            start=setup.start,
        )

    def _sittings(self) -> list[dict[str, Any]]:
        names = {field.name for field in fields(Sitting)}
        needed = {field.name for field in fields(Sitting) if field.default is MISSING}  # the rest came later
        lines = [line for line in self.place.timings() if isinstance(line.get("sitting"), dict)]
        return [line for line in lines if needed <= line["sitting"].keys() <= names]

    def _cost(self, steps: int) -> Cost:
        lines = self.place.timings()
        sums = {
            name: sum(line[name] for line in lines if isinstance(line.get(name), float))
            for name in ("setup_s", "compile_s", "train_s", "eval_s")
        }
        return Cost(
            total_s=sum(sums.values()),
            compile_s=sums["compile_s"],
            train_s=sums["train_s"],
            eval_s=sums["eval_s"],
            images_per_second=steps * self.config.train.batch_size / max(sums["train_s"], 1e-9),
            sittings=len(self._sittings()),
            ended=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        )
