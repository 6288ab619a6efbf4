"""The order of examples in training and evaluation, on the host: a function of (seed, step).

In each epoch the training set has a new random order. The epochs follow each other without a gap, and are cut into
batches. So a batch may reach into the next epoch: every batch is full, and each example occurs exactly once in an
epoch. The paper does not say what it does with the last, short batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Index = npt.NDArray[np.int32]
T = TypeVar("T")


@dataclass(frozen=True)
class Batch:
    """A batch of training examples."""

    index: Index
    epoch: Index
    """Epoch of each example, [B] int32; its augmentation depends on (seed, epoch, index)."""


def epoch_order(seed: int, epoch: int, examples: int) -> Index:
    """The order of the training set in an epoch: a permutation [examples] int32, a function of the arguments."""
    return np.random.default_rng((seed, epoch)).permutation(examples).astype(np.int32)


def training_batches(*, seed: int, examples: int, batch_size: int, first_step: int) -> Iterator[Batch]:
    """Yields the batches of the steps first_step, first_step + 1, ... without end. They do not depend on first_step."""
    position = first_step * batch_size
    epoch = position // examples
    order = epoch_order(seed, epoch, examples)
    while True:
        index, epochs = np.empty(batch_size, np.int32), np.empty(batch_size, np.int32)
        filled = 0
        while filled < batch_size:
            here = position % examples
            if position // examples != epoch:
                epoch = position // examples
                order = epoch_order(seed, epoch, examples)
            take = min(batch_size - filled, examples - here)
            index[filled : filled + take] = order[here : here + take]
            epochs[filled : filled + take] = epoch
            filled += take
            position += take
        yield Batch(index, epochs)


def epochs_done(step: int, *, examples: int, batch_size: int) -> int:
    """The number of complete epochs after `step` steps."""
    return step * batch_size // examples


def epoch_ends(steps: int, *, examples: int, batch_size: int) -> list[int]:
    """The steps, up to `steps`, that complete an epoch."""
    done = epochs_done(steps, examples=examples, batch_size=batch_size)
    return [-(-epoch * examples // batch_size) for epoch in range(1, done + 1)]


def next_epoch_end(step: int, *, examples: int, batch_size: int) -> int:
    """The first step after `step` that completes an epoch."""
    done = epochs_done(step, examples=examples, batch_size=batch_size)
    return -(-(done + 1) * examples // batch_size)


def eval_batches(
    examples: int, batch_size: int, multiple_of: int = 1
) -> Iterator[tuple[Index, npt.NDArray[np.float32]]]:
    """Every example once, in order: (index [B'] int32, weight [B'] float32); weight 0 marks padding.

    Args:
      examples: number of examples of the split.
      batch_size: examples in each batch; the last is padded with the last example of the split.
      multiple_of: the number of devices; every batch is padded to B', the next multiple of it.
    """
    rows = np.arange(padded(batch_size, multiple_of))
    for start in range(0, examples, batch_size):
        index = start + rows
        weight = ((rows < batch_size) & (index < examples)).astype(np.float32)
        yield np.minimum(index, examples - 1).astype(np.int32), weight


def padded(batch_size: int, multiple_of: int) -> int:
    """The smallest multiple of `multiple_of` that is at least `batch_size`."""
    return -(-batch_size // multiple_of) * multiple_of


def announced(batches: Iterable[T], begin: Callable[[T], None], ahead: int) -> Iterator[T]:
    """Yields the same batches in order, and calls `begin` for each batch `ahead` batches before it is yielded."""
    waiting: deque[T] = deque()
    for batch in batches:
        begin(batch)
        waiting.append(batch)
        if len(waiting) > ahead:
            yield waiting.popleft()
    yield from waiting
