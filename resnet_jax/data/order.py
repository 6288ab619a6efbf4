"""The order of the examples in training and evaluation, computed on the host.

In each epoch the training set has a new random order, which depends on the seed. The epochs form one sequence, which is
divided into batches. So a batch may contain examples of two epochs, every batch is full, and each example occurs
exactly once in an epoch. The paper does not say what happens to the last, incomplete batch of an epoch.
"""

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
    """A batch of B training examples: their positions in the training set and their epochs, both [B] int32."""

    index: Index
    epoch: Index


def epoch_order(seed: int, epoch: int, examples: int) -> Index:
    """The order of the training set in an epoch: a permutation [examples] int32 that depends only on the arguments."""
    return np.random.default_rng((seed, epoch)).permutation(examples).astype(np.int32)


def training_batches(*, seed: int, examples: int, batch_size: int, first_step: int) -> Iterator[Batch]:
    """Yields the batches of the steps first_step, first_step + 1, ... without end; steps count from 0.

    A resumed run starts at a later step and gets the same batches as an uninterrupted run.
    """
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
    """The steps, from 1 to `steps`, that complete an epoch."""
    done = epochs_done(steps, examples=examples, batch_size=batch_size)
    return [-(-epoch * examples // batch_size) for epoch in range(1, done + 1)]


def next_epoch_end(step: int, *, examples: int, batch_size: int) -> int:
    """The first step after `step` that completes an epoch."""
    done = epochs_done(step, examples=examples, batch_size=batch_size)
    return -(-(done + 1) * examples // batch_size)


def eval_batches(
    examples: int, batch_size: int, multiple_of: int = 1
) -> Iterator[tuple[Index, npt.NDArray[np.float32]]]:
    """Yields batches of an evaluation, which contain every example once, in order.

    Each batch is (index [B] int32, weight [B] float32), where B is `batch_size`, rounded up to a multiple of
    `multiple_of`, the number of devices. Entries that are only padding have the weight 0, all others the weight 1.
    """
    rows = np.arange(padded(batch_size, multiple_of))
    for start in range(0, examples, batch_size):
        index = start + rows
        weight = ((rows < batch_size) & (index < examples)).astype(np.float32)
        yield np.minimum(index, examples - 1).astype(np.int32), weight


def padded(batch_size: int, multiple_of: int) -> int:
    """Rounds `batch_size` up to a multiple of `multiple_of`."""
    return -(-batch_size // multiple_of) * multiple_of


def announced(batches: Iterable[T], begin: Callable[[T], None], ahead: int) -> Iterator[T]:
    """Yields the batches in order, and calls `begin` once for each batch.

    When a batch is yielded, `begin` has been called for this batch and for the next `ahead` batches.
    """
    waiting: deque[T] = deque()
    for batch in batches:
        begin(batch)
        waiting.append(batch)
        if len(waiting) > ahead:
            yield waiting.popleft()
    yield from waiting
