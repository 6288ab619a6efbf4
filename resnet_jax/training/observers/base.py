"""The interface of observers, and the base class of sinks."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resnet_jax.config import ExperimentConfig
from resnet_jax.record import MetricsLine
from resnet_jax.text import reason
from resnet_jax.training.metrics import Totals

# A sink writes the loss of every tenth step, which is enough for a curve.
STEPS_BETWEEN_POINTS = 10


@dataclass(frozen=True)
class Step:
    """A completed train step."""

    number: int
    """Number of iterations, including this step."""
    rate: float
    """Learning rate of the step."""
    batch: Totals
    """Loss and error of the batch, in train mode, before the update."""
    images_per_second: float
    """Training images per second since the end of the last epoch."""
    gradient_norms: Mapping[str, float] | None = None
    """Euclidean norm of the gradient by layer; None in steps that do not record it."""
    waited: float | None = None
    """Share of the time since the end of the last epoch in which the host waited for images to be decoded, 0 to 1. The
    devices may have computed meanwhile, because steps are dispatched ahead. None if the images are in memory."""


class Observer:
    """Receives the events of a run. Each method does nothing; subclasses override the methods that they need.

    All calls come from one thread, in the order of the steps.
    """

    def note(self, text: str) -> None:
        """Called with a message for the user, such as the step from which a run is resumed."""

    def phase(self, name: str) -> None:
        """Called when a phase before the first step begins: "loading the data", "placing the images", "compiling"."""

    def begin(self, step: int) -> None:
        """Called once before the first step. `step` is 0, or the step of the checkpoint from which the run is resumed.

        A run that was interrupted may have reported later steps already. They will be reported again.
        """

    def step(self, step: Step) -> None:
        """Called for every train step, after a delay of some steps."""

    def evaluation(self, split: str, step: int, totals: Totals) -> None:
        """Called with the result on a split ("train", "validation", "test") in eval mode, after `step` iterations."""

    def epoch(self, line: MetricsLine, images_per_second: float) -> None:
        """Called at the end of each epoch and of the run. `line` is the line of the epoch in metrics.jsonl."""

    def close(self) -> None:
        """Called once when the run has ended, failed or was interrupted."""


class Sink(Observer):
    """An observer that writes the numbers of a run for another program. Subclasses implement `open`, `write`, `close`.

    | name                              | written                                  | computed over                    |
    |-----------------------------------|------------------------------------------|----------------------------------|
    | train/loss, train/error           | every tenth step                         | the step's batch, in train mode  |
    | train/learning_rate               | every tenth step                         | the step                         |
    | train/images_per_second           | every tenth step                         | the time since the last epoch    |
    | train/waited                      | every tenth step                         | the time since the last epoch    |
    | gradient_norm/<layer>             | every `train.gradient_norms_every` steps | the step's batch                 |
    | running/loss, running/error       | at the end of each epoch                 | its batches, in train mode       |
    | validation/loss, validation/error | after each evaluation                    | the validation set, in eval mode |
    | test/loss, test/error             | after each evaluation                    | the test set, in eval mode       |
    | final/loss, final/error           | at the end of the run                    | the training set, in eval mode   |

    The number of a step is the number of completed iterations. Errors are fractions, losses are in nats.
    """

    def __init__(self, directory: Path, study: str, config: ExperimentConfig) -> None:
        """Stores the arguments; `open` starts to write. The last part of `directory` is the name of the run."""
        self.directory, self.study, self.config = directory, study, config
        self._begun = 0

    def open(self, step: int) -> None:
        """Prepares to write the values that will be measured after step `step`.

        An interrupted run may have written some of these values already. They must not appear twice.
        """
        raise NotImplementedError

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Writes numbers by name; `step` is the number of completed iterations, which never decreases."""
        raise NotImplementedError

    def begin(self, step: int) -> None:
        self._begun = step
        self.open(step)

    def step(self, step: Step) -> None:
        values = {}
        if step.number % STEPS_BETWEEN_POINTS == 0:
            values = {
                "train/loss": step.batch.mean_loss,
                "train/error": step.batch.error,
                "train/learning_rate": step.rate,
                "train/images_per_second": step.images_per_second,
            }
            if step.waited is not None:
                values["train/waited"] = step.waited
        norms = step.gradient_norms or {}
        values |= {f"gradient_norm/{layer}": norm for layer, norm in norms.items()}
        if values:
            self.write(step.number, values)

    def evaluation(self, split: str, step: int, totals: Totals) -> None:
        # If the run is resumed after its last step, these numbers may already be written.
        if step > self._begun:
            name = "final" if split == "train" else split
            self.write(step, {f"{name}/loss": totals.mean_loss, f"{name}/error": totals.error})

    def epoch(self, line: MetricsLine, images_per_second: float) -> None:
        self.write(line.step, {"running/loss": line.running_loss, "running/error": line.running_error})


class Guarded(Observer):
    """Passes events to another observer until it fails. A failure prints one message and does not end the run."""

    def __init__(self, name: str, observer: Observer, note: Callable[[str], None]) -> None:
        self._name, self._note, self._failed = name, note, False
        for event in vars(Observer):
            if not event.startswith("_"):
                setattr(self, event, functools.partial(self._pass_on, getattr(observer, event)))

    def _pass_on(self, method: Callable[..., None], *arguments: Any) -> None:
        if self._failed:
            return
        try:
            method(*arguments)
        except Exception as error:  # a library of a sink may raise any exception
            self._failed = True
            self._note(f"--log {self._name} failed ({reason(error)}); the run continues without it.")
