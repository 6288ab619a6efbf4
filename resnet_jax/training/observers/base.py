"""What an observer of a run receives, and what all sinks of metrics share.

A new sink is a subclass of Sink in a file of its own; see the package's docstring.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from resnet_jax.config import ExperimentConfig
from resnet_jax.record import MetricsLine
from resnet_jax.text import reason
from resnet_jax.training.metrics import Totals

# A sink keeps the loss of every tenth step: enough for a curve, and cheap beside steps of a few milliseconds.
STEPS_BETWEEN_POINTS = 10


@dataclass(frozen=True)
class Step:
    """A train step that is done."""

    number: int
    """Iterations completed, this step included."""
    rate: float
    """Learning rate of the step."""
    batch: Totals
    """Loss and error of the step's batch, in train mode, before the update."""
    images_per_second: float
    """Training images per second since the last epoch's end."""
    gradient_norms: Mapping[str, float] | None = None
    """Euclidean norm of the gradient by layer; None in the steps that do not record it."""
    waited: float | None = None
    """Share of the time since the last epoch's end for which the loop waited for images to be decoded. The devices may
    have computed meanwhile, for steps are dispatched ahead of them. None where the images lie in memory."""


class Observer:
    """Watches a run and changes nothing of it: override the methods that are of use, the others do nothing.

    Calls come from one thread, in the order of the steps.
    """

    def note(self, text: str) -> None:
        """Receives a remark for people, such as where the run starts from."""

    def phase(self, name: str) -> None:
        """Receives what the run does before its steps: "loading the data", "placing the images", "compiling"."""

    def begin(self, step: int) -> None:
        """Receives the number of iterations that were done before: 0, or the step of a checkpoint. Comes before steps.

        What an earlier session gave of later steps will be given again.
        """

    def step(self, step: Step) -> None:
        """Receives every train step, some steps after the devices have done it."""

    def evaluation(self, split: str, step: int, totals: Totals) -> None:
        """Receives the result of a split ("train", "validation", "test") in eval mode, after `step` iterations."""

    def epoch(self, line: MetricsLine, images_per_second: float) -> None:
        """Receives the line of an epoch, or of the run's end, after the evaluations that belong to it."""

    def close(self) -> None:
        """Ends the watch. Called once, when the run has ended, was interrupted or failed."""


class Sink(Observer):
    """Writes a run's numbers elsewhere. A subclass says how, in `open`, `write` and `close`.

    | name of a number                         | after which steps                                  |
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
        """Begins to write, after `step` iterations: drops what an earlier session wrote of later steps."""
        raise NotImplementedError

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Writes numbers after `step` iterations, by name. The steps never fall."""
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
        # A session that begins after the last step only evaluates anew what the session before it may have written.
        if step > self._begun:
            name = "final" if split == "train" else split
            self.write(step, {f"{name}/loss": totals.mean_loss, f"{name}/error": totals.error})

    def epoch(self, line: MetricsLine, images_per_second: float) -> None:
        self.write(line.step, {"running/loss": line.running_loss, "running/error": line.running_error})


class Guarded(Observer):
    """Passes a run's events on to an observer until it fails. The failure is noted once; the run never ends by it."""

    def __init__(self, name: str, observer: Observer, note: Callable[[str], None]) -> None:
        """Passes events on to `observer`; `note` receives the sentence about its failure, which has `name` in it."""
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
        except Exception as error:  # whatever a library that we do not know raises
            self._failed = True
            self._note(f"--log {self._name} failed ({reason(error)}); the run goes on without it.")
