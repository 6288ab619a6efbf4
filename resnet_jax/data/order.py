"""Which example comes when, in training and in evaluation; a function of (seed, step), on the host.

Training is one endless sequence: the training set in a fresh order each epoch, the epochs joined end to end, cut
into batches. A batch may span two epochs, so every batch is full, no example is ever dropped, and each is seen
exactly once an epoch. The paper does not say what becomes of its last short batch.
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
    """Positions in a split, [B] int32, with what a step needs to know of each."""

    index: Index
    epoch: Index
    """Epoch of each example: the key of its augmentation is (seed, epoch, index)."""


def epoch_order(seed: int, epoch: int, examples: int) -> Index:
    """The order of the training set in an epoch: a permutation [examples] int32, a function of the arguments."""
    return np.random.default_rng((seed, epoch)).permutation(examples).astype(np.int32)


def training_batches(*, seed: int, examples: int, batch_size: int, first_step: int) -> Iterator[Batch]:
    """The batches of steps first_step, first_step + 1, ... without end; starting late skips and repeats nothing."""
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
    """Epochs of which every example has been trained on after `step` steps."""
    return step * batch_size // examples


def epoch_ends(steps: int, *, examples: int, batch_size: int) -> list[int]:
    """Those of the first `steps` steps that complete an epoch."""
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
      examples: of the split.
      batch_size: examples in each batch but the last, which is padded with the split's last example.
      multiple_of: the number of devices; every batch is padded to B', the next multiple of it, to be shared equally.
    """
    rows = np.arange(padded(batch_size, multiple_of))
    for start in range(0, examples, batch_size):
        index = start + rows
        weight = ((rows < batch_size) & (index < examples)).astype(np.float32)
        yield np.minimum(index, examples - 1).astype(np.int32), weight


def padded(batch_size: int, multiple_of: int) -> int:
    """The next multiple, `batch_size` itself if it is one."""
    return -(-batch_size // multiple_of) * multiple_of


def announced(batches: Iterable[T], begin: Callable[[T], None], ahead: int) -> Iterator[T]:
    """The same batches in order, each announced by `begin` once `ahead` batches before it are still to come."""
    waiting: deque[T] = deque()
    for batch in batches:
        begin(batch)
        waiting.append(batch)
        if len(waiting) > ahead:
            yield waiting.popleft()
    yield from waiting
