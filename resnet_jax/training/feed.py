"""How examples reach a compiled step: gathered on the device from all images, or on the host, batch by batch.

Both give the step the same arrays, and which of them runs changes no result. Steps are dispatched ahead of the device
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

# Of a device's memory, what images may take: the rest is for activations.
DEVICE_SHARE = 0.5


class Feed(Protocol):
    """What a run's steps take their examples from."""

    place: str
    """For people: where the images are, and how much of it they fill."""
    fixed: tuple[Tree, ...]
    """Arguments of a compiled step that stay the same, on the devices."""

    def train(self, batch: Batch) -> Tree:
        """A batch for `Devices.shard`; that of K steps where the batch's arrays are [K, B]."""

    def evaluate(self, split: str, index: Index, weight: Any) -> Tree:
        """A batch of a split ("train", "validation", "test") for `Devices.shard`."""

    def begin_train(self, batch: Batch) -> None:
        """Announces a batch that `train` will be asked for."""

    def begin_evaluate(self, split: str, index: Index) -> None:
        """Announces a batch that `evaluate` will be asked for."""

    def train_batch(self, at: Tree, *fixed: Tree) -> TrainBatch:
        """Inside the compiled step: from its arguments to the batch."""

    def eval_batch(self, at: Tree, *fixed: Tree) -> EvalBatch:
        """Inside the compiled step: from its arguments to the batch."""


class Resident(NamedTuple):
    """All images and labels, split after split."""

    images: Any
    labels: Any


class _TrainIndex(NamedTuple):
    """Which examples a train step takes: [B] int32 each."""

    epoch: Any
    example: Any


class _EvalIndex(NamedTuple):
    """Which examples an evaluation step takes, and their weights: [B]."""

    example: Any
    weight: Any


class OnDevice:
    """All images on every device; a step is sent indices.

    They lie there as they are evaluated, so this is for sources whose images are the same in every epoch.
    """

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
        """Gathers on the device. The training set comes first, so its positions are its own."""
        (resident,) = fixed
        return TrainBatch(resident.images[at.example], resident.labels[at.example], at.epoch, at.example)

    def eval_batch(self, at: Tree, *fixed: Tree) -> EvalBatch:
        """Gathers on the device."""
        (resident,) = fixed
        return EvalBatch(resident.images[at.example], resident.labels[at.example], at.weight)


class FromHost:
    """Images stay on the host, or on its disk; a step is sent its own."""

    def __init__(self, dataset: Dataset, seed: int) -> None:
        self._sources, self._seed = dataset.sources, seed
        self.fixed: tuple[Tree, ...] = ()
        train = dataset.train
        where = train.place if isinstance(train, StreamSource) else f"on the host, {memory.gigabytes(_size(train))}"
        self.place = f"{where}, sent in batches"

    def begin_train(self, batch: Batch) -> None:
        """Has the source make the images meanwhile."""
        self._sources["train"].begin(batch.index, Draws(self._seed, batch.epoch))

    def begin_evaluate(self, split: str, index: Index) -> None:
        """Has the source make the images meanwhile."""
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
        """As sent."""
        batch: TrainBatch = at
        return batch

    def eval_batch(self, at: Tree, *fixed: Tree) -> EvalBatch:
        """As sent."""
        batch: EvalBatch = at
        return batch


def feed(config: DataConfig, dataset: Dataset, devices: Devices, seed: int) -> Feed:
    """The feed that `config.placement` names; "auto" keeps images on the device where they take half of it at most.

    Args:
      config: placement, and whether the images are streamed, which are never kept on the device.
      dataset: the run's.
      devices: the run's.
      seed: of the run.
    """
    if config.placement == "host" or config.streamed:
        return FromHost(dataset, seed)
    size = sum(map(_size, dataset.sources.values()))
    if config.placement == "auto" and processes.on_primary(lambda: size > DEVICE_SHARE * _memory(devices.first)):
        return FromHost(dataset, seed)
    return OnDevice(dataset, devices)


def _size(source: Source) -> int:
    """Bytes that all images of a source take."""
    return math.prod((len(source), *source.shape))


def _memory(device: jax.Device) -> float:
    """Bytes that a device has; of a CPU, which does not say, those that are free in the machine, if anyone says."""
    stats = device.memory_stats() or {}
    if "bytes_limit" in stats:
        return float(stats["bytes_limit"])
    free = memory.available()
    return float("inf") if free is None else float(free)
