"""`run(config, directory)`: from a configuration to a record, through any number of interruptions."""

from __future__ import annotations

import datetime
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from resnet_jax.config import ExperimentConfig
from resnet_jax.data.batches import epoch_ends, epochs_done, training_batches
from resnet_jax.errors import UserError
from resnet_jax.models import summary
from resnet_jax.record import RECORD_FILE, Cost, DataFacts, Final, MetricsLine, RunRecord, Sitting
from resnet_jax.training import state as state_lib
from resnet_jax.training.checkpoint import Checkpoints, identity
from resnet_jax.training.directory import RunDirectory
from resnet_jax.training.environment import describe
from resnet_jax.training.metrics import StepReport, Totals
from resnet_jax.training.progress import Display, Silent
from resnet_jax.training.recompute import recompute
from resnet_jax.training.setup import STEPS_AHEAD, Setup, check_machine, prepare
from resnet_jax.training.state import TrainState


class Interrupted(KeyboardInterrupt):
    """The run was asked to stop; its checkpoint is on the disk. The message says how to go on."""


class _Diverged(Exception):
    def __init__(self, step: int) -> None:
        super().__init__(step)
        self.step = step


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
            sitting = _Run(config, place, study, display or Silent(), stop)
        except UserError:
            place.abandon()
            raise
        return sitting.go()


class _Run:
    """One sitting of one run."""

    def __init__(
        self, config: ExperimentConfig, place: RunDirectory, study: str, display: Display, stop: Callable[[], bool]
    ) -> None:
        self.config, self.place, self.study, self.display, self.stop = config, place, study, display, stop
        self.started = time.monotonic()
        self.setup: Setup = prepare(config, display.note)
        self.checkpoints = Checkpoints(
            place.checkpoints,
            keep=config.train.keep_checkpoints,
            keep_every=config.train.keep_every,
            run=identity(config),
            tell=self.display.note,
        )
        self.totals = Totals()
        self.seen: dict[str, Totals] = {}
        """By split, at the last line."""
        self.pending: deque[tuple[int, Any]] = deque()
        self.rate = 0.0
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
                record = self._record(self._final(state), self.setup.fetch(state), None)
            except _Diverged as diverged:
                self.place.append_timing(step=diverged.step, train_s=time.monotonic() - self.mark)
                self.display.note(f"{self.place.path.name}: the loss is not finite at step {diverged.step}; run ended.")
                record = self._record(None, None, diverged.step)
            self.checkpoints.wait()
            self.place.finish(record)
            return record
        finally:
            self.checkpoints.close()

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
        state, step = self.setup.initial, 0
        restored = self.checkpoints.restore(state, self.setup.dataset.fingerprint)
        if restored is not None:
            state, self.totals = restored
            step = int(state.step)
            self.display.note(f"{self.place.path.name}: going on from the checkpoint of step {step}.")
        c, examples = self.config.train, len(self.setup.dataset.train)
        written = epoch_ends(step, examples=examples, batch_size=c.batch_size)
        if step == c.iterations and step not in written:
            written.append(step)
        self.place.rewind_metrics(step, written)
        setup_s = time.monotonic() - self.started - self.setup.compile_s
        self.place.append_timing(
            sitting=asdict(self._sitting(step)), step=step, setup_s=setup_s, compile_s=self.setup.compile_s
        )
        return step, self.setup.put(state)

    def _sitting(self, step: int) -> Sitting:
        here, parallel = describe(self.setup.devices), self.config.parallel
        return Sitting(step, parallel.mode, parallel.devices, here.device, here.cpu_cores, here.code)

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
                self._save(state)
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
        splits = ({watched, "test"} if last else {watched}) if due else ()
        self.seen = {split: self._evaluate(state, split, step) for split in splits}
        self._line(epoch, step)
        self.place.append_timing(step=step, train_s=train_s, eval_s=time.monotonic() - self.mark - train_s)
        self.mark, self.marked_step = time.monotonic(), step

    def _evaluate(self, state: TrainState, split: str, step: int) -> Totals:
        totals = self.setup.evaluate(state, split)
        if not math.isfinite(totals.loss):
            raise _Diverged(step)  # by the last update, before the next step's loss could tell
        return totals

    def _drain(self, leave: int) -> None:
        """Takes in the reports of steps that are done, in order, and waits while more than `leave` are not."""
        while self.pending and (len(self.pending) > leave or self.pending[0][1].sums.loss.is_ready()):
            step, report = self.pending.popleft()
            host: StepReport = self.setup.devices.fetch(report)
            if not math.isfinite(float(host.sums.loss)):
                raise _Diverged(step)
            self.totals.add(host.sums)
            self.rate = float(host.rate)
            seconds = max(time.monotonic() - self.mark, 1e-9)
            self.images_per_second = (step - self.marked_step) * self.config.train.batch_size / seconds
            examples = float(host.sums.examples)
            self.display.step(
                step,
                rate=self.rate,
                loss=float(host.sums.loss) / examples,
                error=float(host.sums.errors) / examples,
                images_per_second=self.images_per_second,
            )

    def _line(self, epoch: int, step: int) -> None:
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
        self.display.line(line, self.images_per_second)
        self.totals = Totals()

    def _save(self, state: TrainState) -> None:
        self.checkpoints.save(self.setup.fetch(state), self.totals, self.setup.dataset.fingerprint)

    def _interrupt(self, state: TrainState, step: int, train_s: float) -> None:
        self._drain(0)
        self._save(state)
        self.checkpoints.wait()
        self.place.append_timing(step=step, train_s=train_s)
        raise Interrupted(
            f"interrupted at step {step} of {self.config.train.iterations}, checkpoint kept in {self.place.path}; "
            f"the same command goes on from there."
        )

    def _final(self, state: TrainState) -> Final:
        """Errors of the state of the last step on every split; those of its line are not computed again."""
        start, step = time.monotonic(), self.config.train.iterations
        splits = ["train", "test"] + ["validation"] * (self.setup.dataset.validation is not None)
        seen = {split: self.seen.get(split) or self._evaluate(state, split, step) for split in splits}
        train, test, validation = seen["train"], seen["test"], seen.get("validation")
        self.place.append_timing(step=step, eval_s=time.monotonic() - start)
        return Final(
            step=step,
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

    def _record(self, final: Final | None, state: TrainState | None, diverged_at: int | None) -> RunRecord:
        setup, dataset = self.setup, self.setup.dataset
        whole = summary.total(setup.config.model, dataset.image_shape)
        params = setup.initial.params
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
        )

    def _sittings(self) -> list[dict[str, Any]]:
        names = {field.name for field in fields(Sitting)}
        lines = [line for line in self.place.timings() if isinstance(line.get("sitting"), dict)]
        return [line for line in lines if line["sitting"].keys() == names]

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
