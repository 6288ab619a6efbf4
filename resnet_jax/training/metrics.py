"""Sums of loss and errors with the number of examples. Means are computed from these sums at the end, on the host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax import Array


class Sums(NamedTuple):
    """Sums over the examples of one step, on the device: scalars in the dtype of the logits.

    Counts are whole numbers, which float32 represents exactly up to 2**24 = 16,777,216 examples in a step.
    """

    loss: Array
    errors: Array
    """Number of examples whose largest logit belongs to another class than the label."""
    examples: Array


class StepReport(NamedTuple):
    """The result of a train step besides the new state: sums, learning rate and gradient norms."""

    sums: Sums
    rate: Array
    """Learning rate of the step."""
    gradient_norms: Any = None
    """Norms of the gradient (training/gradients.py); None if the run does not record them."""


def weighted_sums(losses: Array, logits: Array, labels: Array, weight: Array) -> Sums:
    """Sums over a batch of N examples. Arguments: losses [N], logits [N, K], labels [N], weight [N] (0 for padding)."""
    wrong = (jax.lax.argmax(logits, 1, labels.dtype) != labels).astype(losses.dtype)
    weight = weight.astype(losses.dtype)
    # `where` instead of a product, because the loss of padding may be infinite, and 0 * inf is not 0.
    counted = jnp.where(weight > 0, losses, jnp.zeros_like(losses))
    return Sums((counted * weight).sum(), (wrong * weight).sum(), weight.sum())


@dataclass
class Totals:
    """Sums over steps, on the host: the loss in double precision, and exact counts."""

    loss: float = 0.0
    errors: int = 0
    examples: int = 0

    def add(self, sums: Sums | Totals) -> None:
        """Adds the sums of one or more steps; they must be on the host."""
        self.loss += float(sums.loss)
        self.errors += round(float(sums.errors))
        self.examples += round(float(sums.examples))

    @property
    def mean_loss(self) -> float:
        """Cross-entropy per example, in nats."""
        return self.loss / self.examples

    @property
    def error(self) -> float:
        """The fraction of misclassified examples, 0 to 1."""
        return self.errors / self.examples


class Miscounted(RuntimeError):
    """An evaluation did not count every example exactly once, which is a defect of this project."""


class Tally:
    """How often each example of a split was counted in an evaluation."""

    def __init__(self, split: str, examples: int) -> None:
        self._split = split
        self._counts = np.zeros(examples, np.int64)

    def add(self, index: npt.NDArray[np.int32], weight: npt.NDArray[np.float32]) -> None:
        """Counts the examples of a batch: positions in the split [B], weights [B] (1, or 0 for padding).

        Raises:
          Miscounted: a weight is neither 0 nor 1, or a position is outside the split.
        """
        counted = index[weight > 0]
        if not np.isin(weight, (0.0, 1.0)).all() or (counted < 0).any() or (counted >= len(self._counts)).any():
            raise Miscounted(f"{self._split}: a batch has weights other than 0 and 1, or positions outside the split.")
        np.add.at(self._counts, counted, 1)

    def check(self, totals: Totals) -> None:
        """Checks that every example was counted once, on the host and on the devices.

        `totals` are the sums from the devices. They must count as many examples as the split has.

        Raises:
          Miscounted: an example was left out or counted twice. The message names the first such example, or gives the
            number of examples that the devices counted.
        """
        wrong = np.flatnonzero(self._counts != 1)
        if wrong.size:
            raise Miscounted(
                f"{self._split}: {wrong.size:,} of {len(self._counts):,} examples were not counted once in an "
                f"evaluation; the first is example {wrong[0]}, counted {self._counts[wrong[0]]} times."
            )
        if totals.examples != len(self._counts):
            raise Miscounted(
                f"{self._split}: the devices counted {totals.examples:,} examples in an evaluation of "
                f"{len(self._counts):,}."
            )
