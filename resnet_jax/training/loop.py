"""`run(config, directory)`: from a configuration to a record, through any number of interruptions.

`run_together` does it for several seeds of one net at once. Only the state on the devices is theirs in common: on the
host each run has its own directory, checkpoints, lines and record.
"""

from __future__ import annotations

import contextlib
import datetime
import math
import statistics
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, asdict, fields, replace
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
from resnet_jax.training.checkpoint import Checkpoints, identity, steps_in
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


class _AllEnded(Exception):
    """No run of a sitting is going any more."""


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
      UserError: a value in `config` that has no effect, a directory of another configuration or in use by another
        process, missing data, too few devices.
      OSError: the directory cannot be written.
      Interrupted: `stop` said so.
    """
    config.require_effect()
    if not (directory / RECORD_FILE).exists():
        check_machine(config)  # before the directory is made: a mistake leaves nothing behind
    with RunDirectory(directory, config) as place:
        finished = place.record()
        if finished is not None:
            return finished
        (record,) = _train([place], study, display or Silent(), stop)
        return record


def run_together(
    runs: Mapping[Path, ExperimentConfig],
    *,
    study: str,
    display: Display | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> dict[Path, RunRecord]:
    """Trains runs that differ in the seed alone side by side, each step of all of them one step of the devices.

    What each leaves in its directory is what `run` would have left, but for rounding: either may go on with what the
    other began. Left as they are, for `run` to see to, are runs that have finished, that cannot be claimed, and those
    that stand at another step than most; all are where fewer than two remain.

    Args:
      runs: configuration by directory; `can_go_together` holds for them.
      study, display, stop: as for `run`. What is displayed is the mean over runs.

    Returns:
      The records of the runs that were trained, by directory.

    Raises:
      UserError: one of the runs cannot go on, or not beside the others; `run`, alone with it, says why.
      OSError: a directory cannot be written.
      Interrupted: `stop` said so; each run has its checkpoint.
    """
    check_machine(next(iter(runs.values())))
    with contextlib.ExitStack() as claims:
        by_step: dict[int, list[RunDirectory]] = {}
        for directory, config in runs.items():
            with contextlib.suppress(UserError):
                place = claims.enter_context(RunDirectory(directory, config))
                done = max(steps_in(place.checkpoints), default=0)
                if place.record() is None:
                    by_step.setdefault(done, []).append(place)
        chosen = max(by_step.values(), key=len, default=[])
        for place in (place for places in by_step.values() for place in places):
            if place not in chosen or len(chosen) < 2:
                place.abandon()
                place.release()
        if len(chosen) < 2:
            return {}
        display = display or Silent()
        display.note(f"\n{', '.join(place.path.name for place in chosen)}: together")
        records = _train(chosen, study, display, stop)
        return {place.path: record for place, record in zip(chosen, records, strict=True)}


def _train(
    places: Sequence[RunDirectory], study: str, display: Display, stop: Callable[[], bool]
) -> tuple[RunRecord, ...]:
    try:
        sitting = _Sitting(places, study, display, stop)
    except UserError:
        for place in places:
            place.abandon()
        raise
    return sitting.go()


class _Sitting:
    """One sitting of a run, or of several that are stepped together: steps, and tells each run of it."""

    def __init__(self, places: Sequence[RunDirectory], study: str, display: Display, stop: Callable[[], bool]) -> None:
        self.display, self.stop = display, stop
        self.started = time.monotonic()
        self.config = places[0].config
        seeds = tuple(place.config.seed for place in places)
        self.setup: Setup = prepare(self.config, display.note, seeds=seeds)
        self.runs = [
            _Run(place, study, self.setup, initial, display.note)
            for place, initial in zip(places, self.setup.initials, strict=True)
        ]
        self.pending: deque[tuple[int, Any]] = deque()
        self.images_per_second = 0.0
        # Since when, and since which step, training has gone on without an evaluation between.
        self.mark, self.marked_step = self.started, 0

    @property
    def going(self) -> list[_Run]:
        """The runs that have not ended. Those that have are still stepped beside the others, and nobody looks."""
        return [run for run in self.runs if run.record is None]

    def go(self) -> tuple[RunRecord, ...]:
        """Trains to the end, or to the last run's first loss that is not a number."""
        self._announce()
        try:
            first, state = self._start()
            with contextlib.suppress(_AllEnded):
                state = self._train(first, state)
                self._finish(state)
            return tuple(run.record for run in self.runs if run.record is not None)
        finally:
            for run in self.runs:
                run.checkpoints.close()

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
        states = [run.restore() for run in self.runs]
        step, *others = (int(state.step) for state in states)
        if any(other != step for other in others):
            raise UserError(f"{self.runs[0].place.path.parent}: the runs' checkpoints are not of one step.")
        for run in self.runs:
            run.rewind(step)
        setup_s = time.monotonic() - self.started - self.setup.compile_s
        here, parallel, together = describe(self.setup.devices), self.config.parallel, len(self.runs)
        sitting = Sitting(
            step, parallel.mode, parallel.devices, here.device, here.cpu_cores, here.code, together=together
        )
        self._append_timings(sitting=asdict(sitting), step=step, setup_s=setup_s, compile_s=self.setup.compile_s)
        return step, self.setup.put(*states)

    def _append_timings(self, **values: Any) -> None:
        """A line of timings for each run; of what took so many seconds, each its share."""
        going = self.going
        shares = {name: value / len(going) if name.endswith("_s") else value for name, value in values.items()}
        for run in going:
            run.place.append_timing(**shares)

    def _train(self, first: int, state: TrainState) -> TrainState:
        """From the state after `first` steps to that after the last."""
        c, examples = self.config.train, len(self.setup.dataset.train)
        batches = [
            training_batches(seed=seed, examples=examples, batch_size=c.batch_size, first_step=first)
            for seed in self.setup.seeds
        ]
        self.mark, self.marked_step = time.monotonic(), first
        for step in range(first + 1, c.iterations + 1):
            state, report = self.setup.train(state, *map(next, batches))
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
        for run in self.going:
            run.seen = {}
        for split in sorted({watched, "test"} if last else {watched}) if due else ():
            self._evaluate(state, split, step)
        lines = [run.line(epoch, step) for run in self.going]
        self.display.line(_mean(lines), self.images_per_second)
        self._append_timings(step=step, train_s=train_s, eval_s=time.monotonic() - self.mark - train_s)
        self.mark, self.marked_step = time.monotonic(), step

    def _evaluate(self, state: TrainState, split: str, step: int) -> None:
        found = zip(self.runs, self.setup.evaluate_each(state, split), strict=True)
        for run, totals in [(run, totals) for run, totals in found if run.record is None]:
            run.seen[split] = totals
            if not math.isfinite(totals.loss):
                self._diverged(run, step)  # by the last update, before the next step's loss could tell

    def _drain(self, leave: int) -> None:
        """Takes in the reports of steps that are done, in order, and waits while more than `leave` are not."""
        while self.pending and (len(self.pending) > leave or self.pending[0][1].sums.loss.is_ready()):
            step, report = self.pending.popleft()
            if not self._records_gradient(step):
                report = report._replace(gradient_norms=None)  # it stays where it is
            batch = Totals()
            found = zip(self.runs, self.setup.each(report), strict=True)
            for run, host in [(run, host) for run, host in found if run.record is None]:
                if not math.isfinite(float(host.sums.loss)):
                    self._diverged(run, step)
                    continue
                run.take(step, host)
                batch.add(host.sums)
            seconds = max(time.monotonic() - self.mark, 1e-9)
            images = (step - self.marked_step) * self.config.train.batch_size * len(self.going)
            self.images_per_second = images / seconds
            self.display.step(
                step,
                rate=statistics.fmean(run.rate for run in self.going),
                loss=batch.mean_loss,
                error=batch.error,
                images_per_second=self.images_per_second,
            )

    def _records_gradient(self, step: int) -> bool:
        every = self.config.train.gradient_norms_every
        return every > 0 and (step - 1) % every == 0

    def _save(self, state: TrainState) -> None:
        for run, host in zip(self.runs, self.setup.fetch_each(state), strict=True):
            if run.record is None:
                run.save(host)

    def _diverged(self, run: _Run, step: int) -> None:
        """Ends a run whose loss is not a number, and all if it was the last."""
        run.place.append_timing(step=step, train_s=(time.monotonic() - self.mark) / len(self.going))
        self.display.note(f"{run.place.path.name}: the loss is not finite at step {step}; run ended.")
        run.end(None, None, step)
        if not self.going:
            raise _AllEnded

    def _interrupt(self, state: TrainState, step: int, train_s: float) -> None:
        self._drain(0)
        self._save(state)
        for run in self.going:
            run.checkpoints.wait()
        self._append_timings(step=step, train_s=train_s)
        first, *others = (run.place.path for run in self.going)
        kept = (
            f"checkpoints of {1 + len(others)} runs kept in {first.parent}" if others else f"checkpoint kept in {first}"
        )
        raise Interrupted(
            f"interrupted at step {step} of {self.config.train.iterations}, {kept}; "
            f"the same command goes on from there."
        )

    def _finish(self, state: TrainState) -> None:
        """Errors of the state of the last step on every split, those of its line not computed again; the records."""
        start, step = time.monotonic(), self.config.train.iterations
        for split in ["train", "test"] + ["validation"] * (self.setup.dataset.validation is not None):
            if split not in self.going[0].seen:  # they have all seen the same
                self._evaluate(state, split, step)
        self._append_timings(step=step, eval_s=time.monotonic() - start)
        for run, host in zip(self.runs, self.setup.fetch_each(state), strict=True):
            if run.record is None:
                run.end(run.final(), host, None)


class _Run:
    """What is one run's own, however it is stepped: directory, checkpoints, sums, lines, record. All on the host."""

    def __init__(
        self, place: RunDirectory, study: str, setup: Setup, initial: TrainState, tell: Callable[[str], None]
    ) -> None:
        self.config, self.place, self.study, self.setup, self.initial = place.config, place, study, setup, initial
        self.tell = tell
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
        self.record: RunRecord | None = None
        """Once it has ended."""

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

    def end(self, final: Final | None, state: TrainState | None, diverged_at: int | None) -> None:
        """Writes the net and the record, once the checkpoints are written: the run has ended."""
        self.checkpoints.wait()
        if state is not None:
            files.save(weights_of(self.setup, state, self.place.path.name), self.place.path / WEIGHTS)
        record = self._record(final, state, diverged_at)
        self.place.finish(record)
        self.record = record

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


def _mean(lines: Sequence[MetricsLine]) -> MetricsLine:
    """The mean of the lines that several runs wrote at one step, for people."""
    numbers = {field.name: [getattr(line, field.name) for line in lines] for field in fields(MetricsLine)}
    means: dict[str, Any] = {name: statistics.fmean(of) for name, of in numbers.items() if isinstance(of[0], float)}
    return replace(lines[0], **means)
