"""Loss and error as weighted sums with the number of examples; the mean is taken once, at the end, on the host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax import Array


class Sums(NamedTuple):
    """Over the examples of one step, on the device: scalars in the logits' dtype.

    Counts are whole numbers, which float32 holds exactly up to 2**24 = 16,777,216 examples in a step.
    """

    loss: Array
    errors: Array
    """Examples whose largest logit is not their label's."""
    examples: Array


class StepReport(NamedTuple):
    """The report of a train step, besides the new state."""

    sums: Sums
    rate: Array
    """Learning rate of the step."""
    gradient_norms: Any = None
    """Norms of the step's gradient, as training/gradients.py has them; None where the run does not record them."""


def weighted_sums(losses: Array, logits: Array, labels: Array, weight: Array) -> Sums:
    """Sums over examples: losses [N], logits [N, K], labels [N], weight [N] (1, or 0 for padding)."""
    wrong = (jax.lax.argmax(logits, 1, labels.dtype) != labels).astype(losses.dtype)
    weight = weight.astype(losses.dtype)
    # where, not a product: padding's loss may be anything, and 0 * inf is no 0.
    counted = jnp.where(weight > 0, losses, jnp.zeros_like(losses))
    return Sums((counted * weight).sum(), (wrong * weight).sum(), weight.sum())


@dataclass
class Totals:
    """Sums over steps, on the host, in double precision and exact numbers."""

    loss: float = 0.0
    errors: int = 0
    examples: int = 0

    def add(self, sums: Sums | Totals) -> None:
        """Adds one step's sums, already on the host. The order of additions is that of the steps."""
        self.loss += float(sums.loss)
        self.errors += round(float(sums.errors))
        self.examples += round(float(sums.examples))

    @property
    def mean_loss(self) -> float:
        """Cross-entropy per example, in nats."""
        return self.loss / self.examples

    @property
    def error(self) -> float:
        """Wrong examples over examples, a fraction."""
        return self.errors / self.examples


class Miscounted(RuntimeError):
    """An evaluation that did not count every example once: a defect of this project, and never a result."""


class Tally:
    """How often each example of a split was counted in an evaluation."""

    def __init__(self, split: str, examples: int) -> None:
        self._split = split
        self._counts = np.zeros(examples, np.int64)

    def add(self, index: npt.NDArray[np.int32], weight: npt.NDArray[np.float32]) -> None:
        """A batch that was sent: positions in the split [B], weights [B]; weight 0 counts nothing."""
        counted = index[weight > 0]
        if not np.isin(weight, (0.0, 1.0)).all() or (counted < 0).any() or (counted >= len(self._counts)).any():
            raise Miscounted(f"{self._split}: a batch has weights other than 0 and 1, or examples that are not there.")
        np.add.at(self._counts, counted, 1)

    def check(self, totals: Totals) -> None:
        """Makes sure that every example was sent once and that the devices counted as many.

        Raises:
          Miscounted: an example was left out or counted twice; the message names the first.
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
