"""What an observer of a run receives. A new sink of metrics is a subclass of Observer, in a file of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from resnet_jax.record import MetricsLine
from resnet_jax.training.metrics import Totals


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


class Observer:
    """Watches a run and changes nothing of it: override the methods that are of use, the others do nothing.

    Calls come from one thread, in the order of the steps.
    """

    def note(self, text: str) -> None:
        """Receives a remark for people, such as where the run starts from."""

    def step(self, step: Step) -> None:
        """Receives every train step, some steps after the devices have done it."""

    def evaluation(self, split: str, step: int, totals: Totals) -> None:
        """Receives the result of a split ("train", "validation", "test") in eval mode, after `step` iterations."""

    def epoch(self, line: MetricsLine, images_per_second: float) -> None:
        """Receives the line of an epoch, or of the run's end, after the evaluations that belong to it."""

    def close(self) -> None:
        """Ends the watch. Called once, when the run has ended, was interrupted or failed."""
