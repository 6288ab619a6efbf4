"""The interface of observers, and the base class of sinks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from resnet_jax.config import ExperimentConfig
from resnet_jax.record import MetricsLine
from resnet_jax.text import reason
from resnet_jax.training.metrics import Totals

# A sink gets the loss of every tenth step, which is enough for a curve and cheap.
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
    """Share of the time since the end of the last epoch that the loop waited for images to be decoded. The devices may
    have computed in that time, because steps are dispatched ahead. None if the images are in memory."""


class Observer:
    """Receives the events of a run. Subclasses override the methods that they need; the others do nothing.

    All calls come from one thread, in the order of the steps.
    """

    def note(self, text: str) -> None:
        """Receives a remark for the user, such as the step from which a run is resumed."""

    def phase(self, name: str) -> None:
        """Receives the name of the present phase before the steps: "loading the data", "placing the images",
        "compiling"."""

    def begin(self, step: int) -> None:
        """Receives, before all steps, the number of earlier iterations: 0, or the step of a checkpoint.

        Events of later steps that an earlier session has sent will be sent again.
        """

    def step(self, step: Step) -> None:
        """Receives every train step, with a delay of some steps."""

    def evaluation(self, split: str, step: int, totals: Totals) -> None:
        """Receives the result of a split ("train", "validation", "test") in eval mode, after `step` iterations."""

    def epoch(self, line: MetricsLine, images_per_second: float) -> None:
        """Receives the line of an epoch, or of the end of the run, after its evaluations."""

    def close(self) -> None:
        """Called once, when the run has ended, was interrupted or failed."""


class Sink(Observer):
    """Writes the numbers of a run to another place. Subclasses implement `open`, `write` and `close`.

    | name of a number                         | steps                                              |
    |------------------------------------------|----------------------------------------------------|
    | train/loss, train/error                  | every tenth: the step's batch, in train mode       |
    | train/learning_rate                      | every tenth                                        |
    | train/images_per_second                  | every tenth                                        |
    | train/waited                             | every tenth; see Step.waited                       |
    | gradient_norm/<layer>                    | those that `train.gradient_norms_every` records    |
    | running/loss, running/error              | the end of each epoch: its batches, in train mode  |
    | validation/loss, ... and test/loss, ...  | those after which the run evaluates on them        |
    | final/loss, final/error                  | the last: the training set, in eval mode           |

    Steps are counted as in metrics.jsonl: iterations completed. Errors are fractions, losses are in nats.
    """

    def __init__(self, directory: Path, study: str, config: ExperimentConfig) -> None:
        """Writes nothing yet.

        Args:
          directory: the run directory, whose last part is the run's name.
          study: the study that the run belongs to.
          config: the run's configuration.
        """
        self.directory, self.study, self.config = directory, study, config
        self._begun = 0

    def open(self, step: int) -> None:
        """Starts to write after `step` iterations, and removes numbers of later steps from an earlier session."""
        raise NotImplementedError

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Writes numbers by name, after `step` iterations. The steps never decrease."""
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
        # A session that begins after the last step only repeats evaluations that may already be written.
        if step > self._begun:
            name = "final" if split == "train" else split
            self.write(step, {f"{name}/loss": totals.mean_loss, f"{name}/error": totals.error})

    def epoch(self, line: MetricsLine, images_per_second: float) -> None:
        self.write(line.step, {"running/loss": line.running_loss, "running/error": line.running_error})


class Guarded(Observer):
    """Passes events on to an observer until it fails. A failure gives one remark and does not end the run."""

    def __init__(self, name: str, observer: Observer, note: Callable[[str], None]) -> None:
        """Passes events on to `observer`; `note` receives a sentence with `name` if it fails."""
        self._name, self._observer, self._note = name, observer, note
        self._failed = False

    def note(self, text: str) -> None:
        self._pass_on(lambda: self._observer.note(text))

    def begin(self, step: int) -> None:
        self._pass_on(lambda: self._observer.begin(step))

    def step(self, step: Step) -> None:
        self._pass_on(lambda: self._observer.step(step))

    def evaluation(self, split: str, step: int, totals: Totals) -> None:
        self._pass_on(lambda: self._observer.evaluation(split, step, totals))

    def epoch(self, line: MetricsLine, images_per_second: float) -> None:
        self._pass_on(lambda: self._observer.epoch(line, images_per_second))

    def close(self) -> None:
        self._pass_on(self._observer.close)

    def _pass_on(self, event: Callable[[], None]) -> None:
        if self._failed:
            return
        try:
            event()
        except Exception as error:  # a library of a sink may raise any exception
            self._failed = True
            self._note(f"--log {self._name} failed ({reason(error)}); the run continues without it.")
