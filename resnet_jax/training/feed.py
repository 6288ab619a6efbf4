"""The input of compiled steps: gathered on the device from all images, or sent from the host batch by batch.

Both give the same arrays, so the choice changes no result. Steps are dispatched ahead of the device
(program.STEPS_AHEAD), so a batch is gathered and sent while earlier steps compute.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from resnet_jax.config import DataConfig
from resnet_jax.data import Dataset, Draws, Source, memory
from resnet_jax.data.dataset import all_images
from resnet_jax.data.order import Batch, Index
from resnet_jax.data.stream import StreamSource
from resnet_jax.training import processes
from resnet_jax.training.mesh import Devices
from resnet_jax.training.step import EvalBatch, TrainBatch
from resnet_jax.types import Tree

# The share of a device's memory that images may take.
DEVICE_SHARE = 0.5


class Feed(Protocol):
    """The source of examples for compiled steps."""

    place: str
    """The place and size of the images, for messages."""
    fixed: tuple[Tree, ...]
    """Arguments of a compiled step that are equal in every call, on the devices."""

    def train(self, batch: Batch) -> Tree:
        """A batch for `Devices.shard`; if the arrays of `batch` are [K, B], the batches of K steps."""

    def evaluate(self, split: str, index: Index, weight: Any) -> Tree:
        """A batch of a split ("train", "validation", "test") for `Devices.shard`."""

    def begin_train(self, batch: Batch) -> None:
        """Announces a call of `train`, so that its images can be decoded in the meantime."""

    def begin_evaluate(self, split: str, index: Index) -> None:
        """Announces a call of `evaluate`."""

    def train_batch(self, at: Tree, *fixed: Tree) -> TrainBatch:
        """Inside the compiled step: from its arguments to the batch."""

    def eval_batch(self, at: Tree, *fixed: Tree) -> EvalBatch:
        """Inside the compiled step: from its arguments to the batch."""


class Resident(NamedTuple):
    """All images and labels, split after split."""

    images: Any
    labels: Any


class _TrainIndex(NamedTuple):
    """The examples of a train step: [B] int32 each."""

    epoch: Any
    example: Any


class _EvalIndex(NamedTuple):
    """The examples of an evaluation step, and their weights: [B]."""

    example: Any
    weight: Any


class OnDevice:
    """All images are on every device; a step gets positions. For sources whose images are equal in every epoch."""

    def __init__(self, dataset: Dataset, devices: Devices) -> None:
        sources = dataset.sources
        sizes = np.cumsum([0, *map(len, sources.values())])
        self._offsets = {name: np.int32(start) for name, start in zip(sources, sizes[:-1], strict=True)}
        images = np.empty((sizes[-1], *dataset.image_shape), np.uint8)
        start = 0
        for source in sources.values():
            for piece in all_images(source):
                images[start : start + len(piece)] = piece
                start += len(piece)
        labels = np.concatenate([source.labels for source in sources.values()])
        self.fixed: tuple[Tree, ...] = (devices.replicate(Resident(images, labels)),)
        self.place = f"on the device, {memory.gigabytes(images.nbytes)}"

    def train(self, batch: Batch) -> Tree:
        """[B] positions."""
        return _TrainIndex(batch.epoch, batch.index)

    def evaluate(self, split: str, index: Index, weight: Any) -> Tree:
        """[B] positions and weights."""
        return _EvalIndex(index + self._offsets[split], weight)

    def begin_train(self, batch: Batch) -> None:
        """Nothing is to be made."""

    def begin_evaluate(self, split: str, index: Index) -> None:
        """Nothing is to be made."""

    def train_batch(self, at: Tree, *fixed: Tree) -> TrainBatch:
        """Gathers on the device. The training set comes first, so its positions need no offset."""
        (resident,) = fixed
        return TrainBatch(resident.images[at.example], resident.labels[at.example], at.epoch, at.example)

    def eval_batch(self, at: Tree, *fixed: Tree) -> EvalBatch:
        """Gathers on the device."""
        (resident,) = fixed
        return EvalBatch(resident.images[at.example], resident.labels[at.example], at.weight)


class FromHost:
    """Images stay on the host, or on its disk; a step gets the images of its batch."""

    def __init__(self, dataset: Dataset, seed: int) -> None:
        self._sources, self._seed = dataset.sources, seed
        self.fixed: tuple[Tree, ...] = ()
        train = dataset.train
        where = train.place if isinstance(train, StreamSource) else f"on the host, {memory.gigabytes(_size(train))}"
        self.place = f"{where}, sent in batches"

    def begin_train(self, batch: Batch) -> None:
        """Lets the source prepare the images."""
        self._sources["train"].begin(batch.index, Draws(self._seed, batch.epoch))

    def begin_evaluate(self, split: str, index: Index) -> None:
        """Lets the source prepare the images."""
        self._sources[split].begin(index)

    def train(self, batch: Batch) -> Tree:
        """The batch's images, labels, epochs and positions."""
        train = self._sources["train"]
        if batch.index.ndim == 1:
            images = train.take(batch.index, Draws(self._seed, batch.epoch))
        else:  # those of several steps
            each = zip(batch.index, batch.epoch, strict=True)
            images = np.stack([train.take(index, Draws(self._seed, epoch)) for index, epoch in each])
        return TrainBatch(images, train.labels[batch.index], batch.epoch, batch.index)

    def evaluate(self, split: str, index: Index, weight: Any) -> Tree:
        """The batch's images, labels and weights."""
        source = self._sources[split]
        return EvalBatch(source.take(index), source.labels[index], weight)

    def train_batch(self, at: Tree, *fixed: Tree) -> TrainBatch:
        """Returns the batch as it was sent to the device."""
        batch: TrainBatch = at
        return batch

    def eval_batch(self, at: Tree, *fixed: Tree) -> EvalBatch:
        """Returns the batch as it was sent to the device."""
        batch: EvalBatch = at
        return batch


def feed(config: DataConfig, dataset: Dataset, devices: Devices, seed: int) -> Feed:
    """The feed of `config.placement`; "auto" keeps images on the device if they need at most half of its memory.

    Args:
      config: placement, and whether images are streamed; streamed images are never kept on the device.
      dataset: the data set of the run.
      devices: the devices of the run.
      seed: the seed of the run.
    """
    if config.placement == "host" or config.streamed:
        return FromHost(dataset, seed)
    size = sum(map(_size, dataset.sources.values()))
    if config.placement == "auto" and processes.on_primary(lambda: size > DEVICE_SHARE * _memory(devices.first)):
        return FromHost(dataset, seed)
    return OnDevice(dataset, devices)


def _size(source: Source) -> int:
    """Bytes of all images of a source."""
    return math.prod((len(source), *source.shape))


def _memory(device: jax.Device) -> float:
    """Memory of a device in bytes; for a CPU the free memory of the machine; infinite if unknown."""
    stats = device.memory_stats() or {}
    if "bytes_limit" in stats:
        return float(stats["bytes_limit"])
    free = memory.available()
    return float("inf") if free is None else float(free)
