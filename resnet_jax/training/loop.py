"""The training loop: runs the compiled steps and reports their results to observers.

A boundary is a step after which the host has work: the end of an epoch (an evaluation, a line of metrics), a
checkpoint, or the end of the run. Between boundaries, the host dispatches steps without waiting for the devices, and
reads the reports of finished steps in order.
"""

import dataclasses
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from resnet_jax.data.order import epochs_done, next_epoch_end
from resnet_jax.record import MetricsLine, RunRecord
from resnet_jax.training import processes
from resnet_jax.training.batch_stats import recompute
from resnet_jax.training.checkpoints import Checkpoints
from resnet_jax.training.gradients import by_layer
from resnet_jax.training.metrics import StepReport, Totals
from resnet_jax.training.observers.base import Observer, Step
from resnet_jax.training.pace import Pace
from resnet_jax.training.program import STEPS_AHEAD, Program
from resnet_jax.training.recorder import Recorder, Spectator
from resnet_jax.training.state import TrainState


class Interrupted(KeyboardInterrupt):
    """The run was stopped, and a checkpoint was written. The message says how to resume the run.

    With several processes, every process raises it.
    """


class _Diverged(Exception):
    """The loss is not finite after a step; the argument is the number of the step."""


class Trainer:
    """Trains a run, from its beginning or from its newest checkpoint."""

    def __init__(
        self,
        program: Program,
        recorder: Recorder | Spectator,
        checkpoints: Checkpoints,
        observers: Sequence[Observer],
        *,
        name: str,
        stop: Callable[[], bool],
    ) -> None:
        """Stores the parts of a run. `name` is for messages; when `stop()` returns True, `go` raises Interrupted."""
        self.program, self.recorder, self.checkpoints = program, recorder, checkpoints
        self.observers = (recorder, *observers)
        self.name, self.stop = name, stop
        self.config, self.dataset = program.assembly.config, program.assembly.dataset
        self.examples = len(self.dataset.train)
        self.totals = Totals()  # sums over the batches since the last line of metrics
        self.evaluated: dict[str, Totals] = {}  # by split, for the last line of metrics
        self.rate = 0.0
        self.pending: deque[tuple[range, Any]] = deque()  # dispatched steps and their reports, oldest first
        self.images_per_second = 0.0
        self.pace = Pace(lambda: program.waited_s)

    def go(self, started: float) -> RunRecord | None:
        """Trains to the end of the run, or to the first loss that is not finite.

        Args:
          started: the time at which the setup of the run began, from `time.monotonic`.

        Returns:
          The record; None in a process that does not write it.

        Raises:
          Interrupted: `stop` returned True.
          UserError: the checkpoints are damaged or belong to another run, or a checkpoint cannot be written.
        """
        step, host = self._restore()
        setup_s = time.monotonic() - started - self.program.compile_s
        for observer in self.observers:
            observer.begin(step)
        self.recorder.session(step, setup_s=setup_s, compile_s=self.program.compile_s)
        try:
            state = self._train(step, self.program.put(host))
            return self._finish(state)
        except _Diverged as diverged:
            (step,) = diverged.args
            self.recorder.timing(step=step, **self.pace.timing())
            self._note(f"{self.name}: the loss is not finite at step {step}; the run has ended.")
            self.checkpoints.wait()
            return self.recorder.diverged(step)

    def _restore(self) -> tuple[int, TrainState]:
        """Returns the number of completed steps, and the state after them, on the host."""
        initial = state = self.program.assembly.initial

        def restore() -> dict[str, Any] | None:
            nonlocal state
            restored = self.checkpoints.restore(initial, self.dataset.fingerprint)
            if restored is None:
                return None
            state, totals = restored
            return dataclasses.asdict(totals)

        # Only process 0 reads, so other processes do not need the folder.
        totals = processes.on_primary(restore)
        state = self.program.devices.broadcast(state)
        if totals is None:
            return 0, state
        self.totals = Totals(**totals)
        self._note(f"{self.name}: continues from the checkpoint of step {int(state.step)}.")
        return int(state.step), state

    def _train(self, step: int, state: TrainState) -> TrainState:
        c = self.config.train
        self.pace.begin(step)
        while step < c.iterations:
            boundary = self._next_boundary(step)
            steps = range(step, step + self.program.steps_at_once(boundary - step))
            state, report = self.program.train(state, steps)
            self.pending.append((steps, report))
            self._read_reports(max(STEPS_AHEAD, self.program.steps_per_dispatch))
            step = steps.stop
            if step == boundary:
                state = self._at_boundary(step, state)
            if step < c.iterations and processes.agree(self.stop()):
                self._interrupt(state, step)
        return state

    def _next_boundary(self, step: int) -> int:
        """The next step, after `step`, at which an epoch ends, the run ends, or a checkpoint is due."""
        c = self.config.train
        ends = [c.iterations, next_epoch_end(step, examples=self.examples, batch_size=c.batch_size)]
        if c.checkpoint_steps:
            ends.append((step // c.checkpoint_steps + 1) * c.checkpoint_steps)
        return min(ends)

    def _at_boundary(self, step: int, state: TrainState) -> TrainState:
        c = self.config.train
        last = step == c.iterations
        if last and c.recompute_batch_stats:
            state = recompute(self.program, state)
        epoch, before = (epochs_done(s, examples=self.examples, batch_size=c.batch_size) for s in (step, step - 1))
        if last or epoch > before:
            self._end_epoch(epoch, step, state)
        if last or (c.checkpoint_steps and step % c.checkpoint_steps == 0):
            self._read_reports(0)
            self._save(state)
        return state

    def _end_epoch(self, epoch: int, step: int, state: TrainState) -> None:
        """Evaluates the net if an evaluation is due, and reports the epoch's line of metrics."""
        self._read_reports(0)
        trained = self.pace.timing()
        c, last = self.config.train, step == self.config.train.iterations
        watched = "validation" if self.dataset.validation else "test"
        due = last or (c.eval_every > 0 and epoch % c.eval_every == 0)
        self.evaluated = {}
        for split in sorted({watched, "test"} if last else {watched}) if due else ():
            self._evaluate(state, split, step)
        test, validation = self.evaluated.get("test"), self.evaluated.get("validation")
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
        self.totals = Totals()
        for observer in self.observers:
            observer.epoch(line, self.images_per_second)
        self.recorder.timing(step=step, **trained, eval_s=self.pace.seconds() - trained["train_s"])
        self.pace.begin(step)

    def _evaluate(self, state: TrainState, split: str, step: int) -> None:
        by_protocol = split == "test" and step == self.config.train.iterations and self.config.data.by_protocol
        totals = self.program.evaluate_by_protocol(state) if by_protocol else self.program.evaluate(state, split)
        self.evaluated[split] = totals
        for observer in self.observers:
            observer.evaluation(split, step, totals)
        if not math.isfinite(totals.loss):
            raise _Diverged(step)  # the last update made the net diverge

    def _read_reports(self, leave: int) -> None:
        """Reads the reports of finished steps, in order. Waits for reports until at most `leave` are unread."""
        # All processes read a report after the same dispatch, so a diverged run ends at the same step in all of them.
        alone = processes.count() == 1
        unread = sum(len(steps) for steps, _ in self.pending)
        while self.pending and (unread > leave or (alone and self.pending[0][1].sums.loss.is_ready())):
            steps, report = self.pending.popleft()
            unread -= len(steps)
            if not any(map(self._records_gradient, steps)):
                report = report._replace(gradient_norms=None)  # norms that are not recorded stay on the devices
            for step, own in zip(steps, self.program.reports(report, len(steps)), strict=True):
                self._take(step + 1, own, self._records_gradient(step))

    def _records_gradient(self, step: int) -> bool:
        every = self.config.train.gradient_norms_every
        return every > 0 and step % every == 0

    def _take(self, number: int, report: StepReport, with_gradient: bool) -> None:
        """Adds the report of a step to the epoch's sums, and passes it to the observers."""
        if not math.isfinite(float(report.sums.loss)):
            raise _Diverged(number)
        batch = Totals()
        batch.add(report.sums)
        self.totals.add(batch)
        self.rate = float(report.rate)
        self.images_per_second = self.pace.rate(number) * self.config.train.batch_size
        norms: dict[str, float] | None = None
        if with_gradient:
            by_name: Any = self.program.from_layout(report.gradient_norms)
            norms = by_layer(by_name, self.config.model, self.dataset.image_shape)
        step = Step(number, self.rate, batch, self.images_per_second, norms, self.pace.waiting())
        for observer in self.observers:
            observer.step(step)

    def _save(self, state: TrainState) -> None:
        if processes.primary():
            self.checkpoints.save(self.program.fetch(state), self.totals, self.dataset.fingerprint)

    def _interrupt(self, state: TrainState, step: int) -> None:
        self._read_reports(0)
        self._save(state)
        self.checkpoints.wait()
        self.recorder.timing(step=step, **self.pace.timing())
        raise Interrupted(
            f"interrupted at step {step} of {self.config.train.iterations}, checkpoint kept in {self.recorder.path}; "
            f"the same command resumes the run."
        )

    def _finish(self, state: TrainState) -> RunRecord | None:
        """Evaluates the last state on all splits that have no result yet, and writes the record."""
        start, step = time.monotonic(), self.config.train.iterations
        for split in ["train", "test"] + ["validation"] * (self.dataset.validation is not None):
            if split not in self.evaluated:
                self._evaluate(state, split, step)
        self.recorder.timing(step=step, eval_s=time.monotonic() - start)
        self.checkpoints.wait()
        return self.recorder.finish(self.program.fetch(state))

    def _note(self, text: str) -> None:
        for observer in self.observers:
            observer.note(text)
